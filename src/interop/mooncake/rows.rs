use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::interop::import::{Row, RowError, Rows};
use crate::shape::BlockId;

/// The rows of a Mooncake file. Ids are numbered anew in order of first appearance; the table of them is all that grows.
pub(in crate::interop) struct MooncakeRows {
    reader: Box<dyn BufRead>,
    line: u64,
    text: Vec<u8>,
    numbers: HashMap<u64, BlockId>,
}

impl MooncakeRows {
    pub(in crate::interop) fn new(reader: Box<dyn BufRead>) -> Self {
        Self {
            reader,
            line: 0,
            text: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    fn row(&mut self) -> Result<Row, String> {
        let fields: Fields = serde_json::from_slice(&self.text).map_err(|error| {
            // Its own message may quote the row.
            match error.classify() {
                serde_json::error::Category::Eof => "the JSON ends early".to_owned(),
                serde_json::error::Category::Data => "not a JSON object".to_owned(),
                _ => format!("not JSON (column {})", error.column()),
            }
        })?;
        let tokens = |field: Option<Field>, name: &str| {
            match field {
                Some(Field::Whole(count)) => u32::try_from(count).ok(),
                _ => None,
            }
            .ok_or_else(|| format!("`{name}` is missing or not a whole number of tokens"))
        };
        let at_us = match fields.timestamp {
            Some(Field::Whole(ms)) => ms.checked_mul(1000),
            Some(Field::Real(ms)) => microseconds(ms),
            _ => None,
        }
        .ok_or("`timestamp` is missing or not a number of milliseconds")?;
        let prompt_tokens = tokens(fields.input_length, "input_length")?;
        let output_tokens = tokens(fields.output_length, "output_length")?;
        let Some(Field::List(hashes)) = fields.hash_ids else {
            return Err("`hash_ids` is missing or not a list of whole numbers".to_owned());
        };
        Ok(Row {
            at_us,
            prompt_tokens,
            output_tokens,
            blocks: self.number(&hashes)?,
        })
    }

    fn number(&mut self, hashes: &[u64]) -> Result<Vec<BlockId>, String> {
        hashes
            .iter()
            .map(|&hash| {
                let next = self.numbers.len();
                match self.numbers.get(&hash) {
                    Some(&id) => Ok(id),
                    None => {
                        let id = u32::try_from(next)
                            .map(BlockId)
                            .map_err(|_| "more than 2^32 different blocks".to_owned())?;
                        self.numbers.insert(hash, id);
                        Ok(id)
                    }
                }
            })
            .collect()
    }
}

/// Milliseconds with a fraction, as some writers have them.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range"
)]
fn microseconds(ms: f64) -> Option<u64> {
    let us = (ms * 1000.0).round();
    (0.0..9e18).contains(&us).then_some(us as u64)
}

impl Rows for MooncakeRows {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        loop {
            self.text.clear();
            match self.reader.read_until(b'\n', &mut self.text) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(RowError::Io(error))),
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        Some(self.row().map_err(|reason| RowError::Bad {
            line: self.line,
            reason,
        }))
    }
}

/// The fields of a row that matter here, whatever their types.
#[derive(Default)]
struct Fields {
    timestamp: Option<Field>,
    input_length: Option<Field>,
    output_length: Option<Field>,
    hash_ids: Option<Field>,
}

/// A value, as far as a Mooncake row may have it.
enum Field {
    Whole(u64),
    Real(f64),
    List(Vec<u64>),
    Other,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let field = match &*key {
                        "timestamp" => &mut fields.timestamp,
                        "input_length" => &mut fields.input_length,
                        "output_length" => &mut fields.output_length,
                        "hash_ids" => &mut fields.hash_ids,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Field, E> {
                Ok(Field::Whole(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Field, E> {
                Ok(Field::Real(value))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_str<E>(self, _: &str) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_unit<E>(self) -> Result<Field, E> {
                Ok(Field::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
                let mut numbers = Some(Vec::new());
                while let Some(item) = list.next_element::<Field>()? {
                    match (&mut numbers, item) {
                        (Some(numbers), Field::Whole(number)) => numbers.push(number),
                        _ => numbers = None,
                    }
                }
                Ok(numbers.map_or(Field::Other, Field::List))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Result<Row, (u64, String)>> {
        let mut rows = MooncakeRows::new(Box::new(std::io::Cursor::new(text.to_owned())));
        std::iter::from_fn(|| rows.next_row())
            .map(|row| {
                row.map_err(|error| match error {
                    RowError::Bad { line, reason } => (line, reason),
                    RowError::Io(_) | RowError::Format(_) => unreachable!(),
                })
            })
            .collect()
    }

    #[test]
    fn ids_are_numbered_in_order_of_first_appearance() {
        let read = rows(concat!(
            r#"{"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [77, 9]}"#,
            "\r\n\n",
            r#"{"hash_ids": [77, 1], "extra": {"a": [1]}, "timestamp": 4.5, "output_length": 0, "input_length": 1}"#,
        ));
        let row = |at_us, prompt_tokens, output_tokens, blocks: [u32; 2]| Row {
            at_us,
            prompt_tokens,
            output_tokens,
            blocks: blocks.map(BlockId).to_vec(),
        };
        assert_eq!(
            read,
            [Ok(row(3000, 600, 5, [0, 1])), Ok(row(4500, 1, 0, [0, 2]))]
        );
    }

    #[test]
    fn malformed_rows_are_named_and_not_quoted() {
        let good = r#""timestamp": 3, "input_length": 600, "output_length": 5"#;
        let read = rows(
            &[
                "secret",
                "\"secret\"",
                "{\"timestamp\": \"secret\"}",
                &format!("{{{good}, \"hash_ids\": [1, \"secret\"]}}"),
                &format!("{{{good}"),
                "{\"timestamp\": -1, \"input_length\": 1}",
                &format!("{{{good}, \"hash_ids\": []}}"),
            ]
            .join("\n"),
        );
        for (i, row) in read.iter().take(6).enumerate() {
            let (line, reason) = row.as_ref().unwrap_err();
            assert_eq!(*line, i as u64 + 1);
            assert!(!reason.contains("secret"), "{reason}");
        }
        assert!(read[6].is_ok());
    }
}
