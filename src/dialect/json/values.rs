//! Of values of which only so much is kept: whether they say anything, how many they are, how long.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Whether a value is there and not null, an empty string, list or object, 0 or false; the value itself is let go.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Presence(pub(in crate::dialect) bool);

/// The same, and where the value is a string without escapes, that string.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Said<'a> {
    pub(in crate::dialect) anything: bool,
    pub(in crate::dialect) plainly: Option<&'a str>,
    /// Bytes of the string.
    pub(in crate::dialect) bytes: usize,
}

impl Said<'_> {
    fn heard(anything: bool) -> Self {
        Self {
            anything,
            plainly: None,
            bytes: 0,
        }
    }
}

/// An error's JSON, where a value is there as [`Presence`] has it.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Fault<'a>(pub(in crate::dialect) Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fault<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let Presence(there) = serde_json::from_str(json).map_err(D::Error::custom)?;
        Ok(Self(there.then_some(json)))
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Said::deserialize(deserializer).map(|said| Self(said.anything))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Said<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Said<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Said<'de>, E> {
                Ok(Said::heard(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Said<'de>, E> {
                Ok(Said::heard(value != 0))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Said<'de>, E> {
                Ok(Said::heard(value != 0))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Said<'de>, E> {
                Ok(Said::heard(value != 0.0))
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Said<'de>, E> {
                Ok(Said {
                    anything: !value.is_empty(),
                    plainly: Some(value),
                    bytes: value.len(),
                })
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Said<'de>, E> {
                Ok(Said {
                    bytes: value.len(),
                    ..Said::heard(!value.is_empty())
                })
            }

            fn visit_unit<E: Error>(self) -> Result<Said<'de>, E> {
                Ok(Said::heard(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Said<'de>, A::Error> {
                let mut any = false;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Said::heard(any))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Said<'de>, A::Error> {
                let mut any = false;
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Said::heard(any))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A count, from any number that is one; null and absent are none.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Count(pub(in crate::dialect) Option<u32>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or null")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
                Ok(Count(Some(u32::try_from(value).unwrap_or(u32::MAX))))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
                Ok(Count(u32::try_from(value).ok()))
            }

            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates"
            )]
            fn visit_f64<E: Error>(self, value: f64) -> Result<Count, E> {
                Ok(Count((value >= 0.0).then_some(value as u32)))
            }

            fn visit_unit<E: Error>(self) -> Result<Count, E> {
                Ok(Count(None))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// How many items a list has; 1 for a lone value, 0 for null.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Items(pub(in crate::dialect) u32);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, a value or null")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut count = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items(count))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Items, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Items(1))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Items, E> {
                Ok(Items(1))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Items, E> {
                Ok(Items(1))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Items, E> {
                Ok(Items(1))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Items, E> {
                Ok(Items(1))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Items, E> {
                Ok(Items(1))
            }

            fn visit_unit<E: Error>(self) -> Result<Items, E> {
                Ok(Items(0))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
