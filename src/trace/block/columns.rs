use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_bytes::Bytes;

use crate::trace::varint::Numbers;

/// Declares the columns once, for both directions: the numbers are the file format (docs/trace-format.md), and a number is
/// never given a second meaning.
macro_rules! columns {
    ($($number:literal $name:ident,)*) => {
        /// The columns of a block as they are written.
        #[derive(Debug, Default)]
        pub(super) struct Columns {
            $(pub(super) $name: Vec<u8>,)*
        }

        /// The columns of a block as they are read.
        #[derive(Debug, Default, Clone, Copy)]
        pub(super) struct ColumnNumbers<'a> {
            $(pub(super) $name: Numbers<'a>,)*
        }

        impl Columns {
            /// The columns that say something: one of zeros reads the same when it is missing.
            fn telling(&self) -> impl Iterator<Item = (u8, &[u8])> {
                [$(($number, self.$name.as_slice()),)*]
                    .into_iter()
                    .filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
            }

            /// Lengths of the columns as they stand in the document, in their order.
            pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
                self.telling().map(|(_, bytes)| bytes.len())
            }

            pub(super) fn clear(&mut self) {
                $(self.$name.clear();)*
            }
        }

        impl<'a> ColumnNumbers<'a> {
            /// Whether the column is one that this version knows.
            fn set(&mut self, number: u64) -> Option<&mut Numbers<'a>> {
                match number {
                    $($number => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

columns! {
    1 at,
    2 flags,
    3 endpoint,
    4 method,
    5 shape,
    6 outcome,
    7 outcome_at,
    8 in_flight,
    9 model,
    10 session,
    11 client,
    12 opening,

    20 request_bytes,
    21 messages,
    22 message_role,
    23 message_bytes,
    24 message_tokens,
    25 prompt_tokens,
    26 prompt_tokens_source,
    27 blocks,
    28 block_hits,
    29 block_misses,
    30 max_tokens,
    31 min_tokens,
    32 n,
    33 best_of,
    34 structured,
    35 schema_bytes,
    36 logprobs,
    37 stop_count,
    38 reasoning_effort,
    39 tools,
    40 tools_bytes,
    41 media,
    42 media_message,
    43 media_kind,
    44 media_bytes,
    45 media_width,
    46 media_height,

    60 status,
    61 headers,
    62 first_byte,
    63 first_token,
    64 first_answer,
    65 last_token,
    66 end,
    67 gap_buckets,
    68 gap_first,
    69 gap_counts,
    70 gap_far,
    71 gap_longest,
    72 output_tokens,
    73 output_tokens_source,
    74 cached_tokens,
    75 reasoning_tokens,
    76 finish,
    77 tool_calls,
    78 response_bytes,
    79 events,
    80 token_events,
    81 trail,
    82 trail_base,
    83 trail_steps,
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.telling().count()))?;
        for (number, bytes) in self.telling() {
            map.serialize_entry(&number, Bytes::new(bytes))?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ColumnNumbers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ColumnMap(PhantomData))
    }
}

struct ColumnMap<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ColumnMap<'a> {
    type Value = ColumnNumbers<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map of column numbers to bytes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = ColumnNumbers::default();
        while let Some(number) = map.next_key::<u64>()? {
            match columns.set(number) {
                Some(column) => *column = Numbers::new(map.next_value::<&'de Bytes>()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_columns_are_skipped_and_missing_ones_read_as_zeros() {
        let mut document = vec![0x83]; // a map of three
        document.extend_from_slice(&[1, 0xc4, 2, 5, 6]); // at: 5, 6
        document.extend_from_slice(&[0xcd, 0x03, 0xe8, 0x92, 1, 2]); // 1000: an array
        document.extend_from_slice(&[60, 0xc4, 2, 0xc8, 0x01]); // status: 200
        let mut columns: ColumnNumbers<'_> = rmp_serde::from_slice(&document).unwrap();
        assert_eq!((columns.at.next(), columns.at.next()), (Ok(5), Ok(6)));
        assert!(columns.at.next().is_err());
        assert_eq!(columns.status.next(), Ok(200));
        assert_eq!(columns.n.next(), Ok(0));
    }

    #[test]
    fn columns_of_zeros_are_not_written() {
        let columns = Columns {
            at: vec![0, 0, 0],
            n: vec![0, 1],
            ..Columns::default()
        };
        assert_eq!(
            rmp_serde::to_vec(&columns).unwrap(),
            [0x81, 32, 0xc4, 2, 0, 1]
        );
    }
}
