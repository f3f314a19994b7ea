//! Pieces of JSON as servers read them: borrowed where they can be, lenient where servers are.

mod list;
mod tools;
mod values;

pub(in crate::dialect) use list::{Ids, List};
pub(in crate::dialect) use tools::Tools;
pub(in crate::dialect) use values::{Count, Fault, Items, Presence, Said};

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::anonymise::PromptRender;
use crate::dialect::Unparsable;
use crate::shape::Dialect;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Refused {
    /// It is not JSON, or not of the form.
    Malformed,
    /// Its lists hold, or take, more than they may.
    TooMany,
}

/// Reads a whole body.
pub(in crate::dialect) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    list::begin();
    // Looked at as a whole, and many bytes at a time: string by string, text outside ASCII would cost as much as all the
    // rest of reading it. A body that is no text may have its fault where nobody reads.
    let read = match simdutf8::basic::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    read.map_err(|_| refused())
}

/// Why the body that was begun last was not read.
fn refused() -> Refused {
    match list::were_too_many() {
        true => Refused::TooMany,
        false => Refused::Malformed,
    }
}

/// Reads a whole body of a dialect.
pub(in crate::dialect) fn read_as<'a, T: Deserialize<'a>>(
    dialect: Dialect,
    body: &'a [u8],
) -> Result<T, Unparsable> {
    read(body).map_err(|refused| Unparsable::new(dialect, refused))
}

/// Reads the value that a body begins with, and says where it ends: tensors in binary may follow.
pub(in crate::dialect) fn read_front<'a, T: Deserialize<'a>>(
    body: &'a [u8],
) -> Result<(T, usize), Refused> {
    list::begin();
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    match values.next() {
        Some(Ok(value)) => Ok((value, values.byte_offset())),
        _ => Err(refused()),
    }
}

/// A string, borrowed from the body unless it holds escapes.
#[derive(Default, Clone, PartialEq, Eq)]
pub(in crate::dialect) struct Text<'a>(pub(in crate::dialect) Cow<'a, str>);

impl Text<'_> {
    pub(in crate::dialect) fn bytes(&self) -> &[u8] {
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

/// Null, a string, a list, or one item alone.
#[derive(Default)]
pub(in crate::dialect) enum OneOrMany<'a, T> {
    #[default]
    None,
    One(Text<'a>),
    Many(List<T>),
}

impl<T> OneOrMany<'_, T> {
    /// Content as a prompt holds it: a text alone as it stands, of parts what each holds.
    pub(in crate::dialect) fn render_by(
        &self,
        part: impl Fn(&T, &mut PromptRender),
        render: &mut PromptRender,
    ) {
        match self {
            Self::None => {}
            Self::One(text) => render.text(text.bytes()),
            Self::Many(parts) => parts.iter().for_each(|it| part(it, render)),
        }
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = OneOrMany<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list, an item or null")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(OneOrMany::None)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Text(text.into())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Text(text.to_owned().into())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                List::collect(items).map(OneOrMany::Many)
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                let item = T::deserialize(MapAccessDeserializer::new(fields))?;
                List::of(item).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// `null` where a list or object belongs is as good as nothing.
pub(in crate::dialect) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
