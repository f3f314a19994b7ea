//! Pieces of JSON as servers read them: borrowed where they can be, lenient where servers are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A string, borrowed from the body unless it holds escapes.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// Whether a value is there and not null, an empty string, list or object, 0 or false; the value itself is let go.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presence(pub(super) bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Presence;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Presence, E> {
                Ok(Presence(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Presence, E> {
                Ok(Presence(value != 0))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Presence, E> {
                Ok(Presence(value != 0))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Presence, E> {
                Ok(Presence(value != 0.0))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Presence, E> {
                Ok(Presence(!value.is_empty()))
            }

            fn visit_unit<E: Error>(self) -> Result<Presence, E> {
                Ok(Presence(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Presence, A::Error> {
                let mut any = false;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Presence(any))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Presence, A::Error> {
                let mut any = false;
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Presence(any))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A count, from any number that is one; null and absent are none.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u32>);

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
pub(super) struct Items(pub(super) u32);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_leniently_as_servers_do() {
        let present = |json: &str| serde_json::from_str::<Presence>(json).unwrap().0;
        for json in [
            "\"x\"",
            "\"\\u00e9\"",
            "1",
            "-0.5",
            "true",
            "[0]",
            "{\"a\":null}",
        ] {
            assert!(present(json), "{json}");
        }
        for json in ["\"\"", "0", "false", "[]", "{}", "null"] {
            assert!(!present(json), "{json}");
        }
        let count = |json: &str| serde_json::from_str::<Count>(json).unwrap().0;
        assert_eq!(
            ["16", "16.0", "null", "-1", "1e30"].map(count),
            [Some(16), Some(16), None, None, Some(u32::MAX)]
        );
        assert!(serde_json::from_str::<Count>("\"16\"").is_err());
        let items = |json: &str| serde_json::from_str::<Items>(json).unwrap().0;
        assert_eq!(
            ["null", "\"a\"", "[\"a\",\"b\"]", "{}", "[]"].map(items),
            [0, 1, 2, 1, 0]
        );
        let text: Text<'_> = serde_json::from_str("\"plain\"").unwrap();
        assert!(matches!(text.0, Cow::Borrowed("plain")));
    }
}
