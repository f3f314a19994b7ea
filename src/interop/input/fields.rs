use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::row::microseconds;
use crate::anonymise::Private;

/// The keys that a format knows, and what they are called in the file at hand.
pub(in crate::interop) struct Labels<const N: usize> {
    names: [&'static str; N],
    /// By place.
    renamed: Vec<(usize, String)>,
}

impl<const N: usize> Labels<N> {
    pub(in crate::interop) const fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            renamed: Vec::new(),
        }
    }

    /// Reads `name` under another `label`. Says whether there is a `name`.
    pub(in crate::interop) fn rename(&mut self, name: &str, label: &str) -> bool {
        let place = self.names.iter().position(|known| *known == name);
        self.renamed
            .extend(place.map(|place| (place, label.to_owned())));
        place.is_some()
    }

    /// All names, for people.
    pub(in crate::interop) fn join(&self) -> String {
        self.names.join(", ")
    }

    fn label(&self, at: usize) -> &str {
        let renamed = self.renamed.iter().rev().find(|(place, _)| *place == at);
        match renamed {
            Some((_, label)) => label,
            None => self.names.get(at).copied().unwrap_or_default(),
        }
    }

    /// Takes a JSON object apart. Other keys are passed over, `null` is as good as absent, the last of several wins.
    ///
    /// # Errors
    /// When it is no JSON object, without quoting it.
    pub(in crate::interop) fn read<'a>(&'a self, json: &'a [u8]) -> Result<Fields<'a, N>, String> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let values = Object(self)
            .deserialize(&mut reader)
            .and_then(|values| reader.end().map(|()| values))
            .map_err(|error| json_reason(&error))?;
        Ok(Fields {
            labels: self,
            values,
        })
    }
}

/// What is wrong with a line of JSON. The parser's own message may quote the line.
pub(in crate::interop) fn json_reason(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends early".to_owned(),
        serde_json::error::Category::Data => {
            let text = error.to_string();
            // A field's name is the format's own.
            match text
                .strip_prefix("missing field `")
                .and_then(|rest| rest.split_once('`'))
            {
                Some((name, _)) => format!("`{name}` is missing"),
                None => format!(
                    "not a JSON object with the fields of the format (column {})",
                    error.column()
                ),
            }
        }
        _ => format!("not JSON (column {})", error.column()),
    }
}

/// The values of one JSON object, each as it stands there, to be read as what it should be.
pub(in crate::interop) struct Fields<'a, const N: usize> {
    labels: &'a Labels<N>,
    values: [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Fields<'a, N> {
    /// A value as it stands there.
    pub(in crate::interop) fn raw(&self, at: usize) -> Option<&'a str> {
        let value = self.values.get(at).copied().flatten()?;
        Some(value.get()).filter(|text| *text != "null")
    }

    /// A number of tokens.
    ///
    /// # Errors
    /// When it is there and none.
    pub(in crate::interop) fn tokens(&self, at: usize) -> Result<Option<u32>, String> {
        self.number(at, "a whole number of tokens")
    }

    /// A number of tokens that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub(in crate::interop) fn needed_tokens(&self, at: usize) -> Result<u32, String> {
        self.needed(self.tokens(at), at, "a whole number of tokens")
    }

    /// A moment or duration in units of `unit_us` microseconds.
    ///
    /// # Errors
    /// When it is there and no such number.
    pub(in crate::interop) fn time_us(
        &self,
        at: usize,
        unit_us: u32,
    ) -> Result<Option<u64>, String> {
        let Some(text) = self.raw(at) else {
            return Ok(None);
        };
        let whole = text.parse::<u64>().ok();
        let us = match whole {
            Some(units) => units.checked_mul(u64::from(unit_us)),
            None => decimal(text).and_then(|units| microseconds(units, unit_us)),
        };
        us.map(Some)
            .ok_or_else(|| self.wrong(at, &format!("a number of {}", unit_name(unit_us))))
    }

    /// A moment that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub(in crate::interop) fn needed_time_us(
        &self,
        at: usize,
        unit_us: u32,
    ) -> Result<u64, String> {
        let what = format!("a number of {}", unit_name(unit_us));
        self.needed(self.time_us(at, unit_us), at, &what)
    }

    /// Block hashes.
    ///
    /// # Errors
    /// When they are there and no list of whole numbers.
    pub(in crate::interop) fn hashes(&self, at: usize) -> Result<Option<Vec<u64>>, String> {
        let Some(text) = self.raw(at) else {
            return Ok(None);
        };
        serde_json::from_str::<Vec<Hash>>(text)
            .map(|hashes| Some(hashes.into_iter().map(|hash| hash.0).collect()))
            .map_err(|_| self.wrong(at, "a list of whole numbers"))
    }

    /// A number or a text by which things are told apart.
    ///
    /// # Errors
    /// When it is there and neither.
    pub(in crate::interop) fn key(&self, at: usize) -> Result<Option<Private>, String> {
        match self.raw(at) {
            None => Ok(None),
            Some(text) if text.starts_with(['{', '[', 't', 'f']) => {
                Err(self.wrong(at, "a number or a text"))
            }
            Some(text) => Ok(Some(Private::new(text))),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// When it is there and none.
    pub(in crate::interop) fn text(&self, at: usize) -> Result<Option<Cow<'a, str>>, String> {
        #[derive(serde::Deserialize)]
        struct Text<'b>(#[serde(borrow)] Cow<'b, str>);
        let Some(text) = self.raw(at) else {
            return Ok(None);
        };
        serde_json::from_str::<Text<'a>>(text)
            .map(|text| Some(text.0))
            .map_err(|_| self.wrong(at, "a text"))
    }

    /// An object within this one.
    ///
    /// # Errors
    /// When it is there and none.
    pub(in crate::interop) fn object<'b, const M: usize>(
        &self,
        at: usize,
        labels: &'b Labels<M>,
    ) -> Result<Option<Fields<'b, M>>, String>
    where
        'a: 'b,
    {
        let Some(text) = self.raw(at) else {
            return Ok(None);
        };
        labels
            .read(text.as_bytes())
            .map(Some)
            .map_err(|_| self.wrong(at, "an object"))
    }

    /// Says that a field is not what it should be.
    pub(in crate::interop) fn wrong(&self, at: usize, what: &str) -> String {
        format!("`{}` is missing or not {what}", self.labels.label(at))
    }

    fn needed<T>(
        &self,
        read: Result<Option<T>, String>,
        at: usize,
        what: &str,
    ) -> Result<T, String> {
        read?.ok_or_else(|| self.wrong(at, what))
    }

    fn number(&self, at: usize, what: &str) -> Result<Option<u32>, String> {
        let Some(text) = self.raw(at) else {
            return Ok(None);
        };
        // Some writers have every number with a fraction.
        let whole = text.parse().ok().or_else(|| {
            decimal(text)
                .filter(|number| number.fract() == 0.0)
                .and_then(|number| u32::try_from(microseconds(number, 1)?).ok())
        });
        whole.map(Some).ok_or_else(|| self.wrong(at, what))
    }
}

/// A JSON number. What Rust reads beyond that (`inf`) is none.
fn decimal(text: &str) -> Option<f64> {
    let number = text.parse::<f64>().ok()?;
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        .then_some(number)
}

fn unit_name(unit_us: u32) -> &'static str {
    match unit_us {
        1_000_000 => "seconds",
        1_000 => "milliseconds",
        _ => "microseconds",
    }
}

/// A block's hash: any whole number of 64 bits, with a sign or without.
struct Hash(u64);

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Hash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E>(self, hash: u64) -> Result<Hash, E> {
                Ok(Hash(hash))
            }

            fn visit_i64<E>(self, hash: i64) -> Result<Hash, E> {
                Ok(Hash(hash.cast_unsigned()))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

struct Object<'a, const N: usize>(&'a Labels<N>);

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(place) = map.next_key_seed(Key(self.0))? {
            match place.and_then(|place| values.get_mut(place)) {
                Some(value) => *value = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// The place of a key among the labels.
struct Key<'a, const N: usize>(&'a Labels<N>);

impl<'de, const N: usize> DeserializeSeed<'de> for Key<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Key<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok((0..N).find(|&at| self.0.label(at) == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABELS: Labels<3> = Labels::new(["a", "b", "c"]);

    #[test]
    fn values_are_read_as_what_they_should_be() {
        let labels = LABELS;
        let fields = labels
            .read(br#"{"a": 1.0, "x": {"a": 9}, "b": null, "c": [1, -1, 18446744073709551615]}"#)
            .unwrap();
        assert_eq!(fields.needed_tokens(0), Ok(1));
        assert_eq!(fields.time_us(0, 1000), Ok(Some(1000)));
        assert_eq!(fields.tokens(1), Ok(None));
        assert_eq!(fields.hashes(2), Ok(Some(vec![1, u64::MAX, u64::MAX])));
        assert!(fields.needed_tokens(1).unwrap_err().contains("`b`"));
        assert!(fields.tokens(2).is_err() && fields.key(2).is_err() && fields.text(0).is_err());
    }

    #[test]
    fn a_renamed_field_is_read_under_its_label() {
        let mut labels = LABELS;
        assert!(labels.rename("b", "bé") && !labels.rename("z", "y"));
        let fields = labels.read(r#"{"b\u00e9": "x\"y", "b": 1}"#.as_bytes());
        assert_eq!(fields.unwrap().text(1).unwrap().unwrap(), "x\"y");
    }

    proptest! {
        #[test]
        fn no_line_panics_or_is_quoted(line in prop::collection::vec(any::<u8>(), 0..60), jsonish in "[\\[\\]{}:,\"abc0-9.e null-]{0,50}") {
            let labels = LABELS;
            for line in [line.as_slice(), jsonish.as_bytes()] {
                if let Ok(fields) = labels.read(line) {
                    for at in 0..4 {
                        let _ = (fields.tokens(at), fields.time_us(at, 1_000_000), fields.hashes(at), fields.key(at), fields.text(at));
                    }
                }
            }
        }
    }
}
