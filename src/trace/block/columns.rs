use crate::trace::varint::Numbers;

/// How many columns the counts of gaps go to, by the bucket before: see [`context_of`].
pub(super) const CONTEXTS: usize = 16;

/// The number of the first of them.
const GAP_COUNTS_IN: u8 = 100;

/// Which of the columns from [`GAP_COUNTS_IN`] on a bucket's count stands in: `bucket` is the one before it, or for the first that
/// one itself. Gaps of one time look alike, so how many there are near a bucket says how many in it.
#[inline]
pub(super) fn context_of(bucket: u64) -> usize {
    (bucket / 4 % CONTEXTS as u64) as usize
}

/// Declares the columns once, for both directions: the numbers are the file format (docs/trace-format.md), and a number is
/// never given a second meaning.
macro_rules! columns {
    ($($number:literal $name:ident,)*) => {
        /// The columns of a block as they are written.
        #[derive(Debug, Default)]
        pub(super) struct Columns {
            $(pub(super) $name: Vec<u8>,)*
            /// Columns from [`GAP_COUNTS_IN`] on.
            pub(super) gap_counts_in: [Vec<u8>; CONTEXTS],
        }

        /// The columns of a block as they are read.
        #[derive(Debug, Default, Clone, Copy)]
        pub(super) struct ColumnNumbers<'a> {
            $(pub(super) $name: Numbers<'a>,)*
            pub(super) gap_counts_in: [Numbers<'a>; CONTEXTS],
        }

        impl Columns {
            /// The columns that say something: one of zeros reads the same when it is missing.
            pub(super) fn telling(&self) -> impl Iterator<Item = (u8, &[u8])> {
                let in_contexts = (GAP_COUNTS_IN..).zip(self.gap_counts_in.iter().map(Vec::as_slice));
                [$(($number, self.$name.as_slice()),)*]
                    .into_iter()
                    .chain(in_contexts)
                    .filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
            }

            pub(super) fn clear(&mut self) {
                $(self.$name.clear();)*
                self.gap_counts_in.iter_mut().for_each(Vec::clear);
            }
        }

        impl<'a> ColumnNumbers<'a> {
            /// The column of a number, if it is one that this version knows.
            pub(super) fn set(&mut self, number: u64) -> Option<&mut Numbers<'a>> {
                match number {
                    $($number => Some(&mut self.$name),)*
                    _ => {
                        let context = number.checked_sub(GAP_COUNTS_IN.into())?;
                        self.gap_counts_in.get_mut(usize::try_from(context).ok()?)
                    }
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
    47 media_format,
    48 tensors,
    49 tensor_message,
    50 tensor_datatype,
    51 tensor_rank,
    52 tensor_dimension,
    53 context_tokens,
    54 dimensions,
    55 encoding_format,
    56 cache_marks,
    57 cache_mark_place,
    58 cache_mark_bytes,
    59 cache_mark_life,

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
    84 reader_wait,
    85 request_media_type,
    86 response_media_type,
    87 first_sent,
    88 sent_gaps,
    89 sent_gap_steps,
    90 sent_gap_counts,
    91 sent_longest,
    92 sent_trail,
    93 sent_trail_steps,
    94 came_sizes,
    95 came_size_steps,
    96 came_size_counts,
}

#[cfg(test)]
mod tests {
    use super::super::layout::{ColumnBytes, LaidOut};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_of_any_numbers_read_back_from_their_planes(numbers in prop::collection::vec(any::<u64>(), 0..200), shift in 0..64) {
            let mut columns = Columns::default();
            for &number in &numbers {
                crate::trace::varint::put(&mut columns.first_token, number >> shift);
            }
            let document = rmp_serde::to_vec(&LaidOut::of(&columns)).unwrap();
            let bytes: ColumnBytes<'_> = rmp_serde::from_slice(&document).unwrap();
            let mut read = bytes.numbers().first_token;
            for &number in &numbers {
                prop_assert_eq!(read.next(), Ok(number >> shift));
            }
            prop_assert!(read.is_empty());
        }
    }

    #[test]
    fn planes_that_do_not_fit_are_refused() {
        let fits = |planes: &[&[u8]]| {
            let mut document = vec![0x81, 1, 0x90 + u8::try_from(planes.len()).unwrap()];
            for plane in planes {
                document.extend_from_slice(&[0xc4, u8::try_from(plane.len()).unwrap()]);
                document.extend_from_slice(plane);
            }
            rmp_serde::from_slice::<ColumnBytes<'_>>(&document).is_ok()
        };
        assert!(fits(&[&[1, 0x81, 2], &[3]]));
        assert!(!fits(&[&[1, 0x81, 2], &[]]));
        assert!(!fits(&[&[1, 0x81, 2], &[3, 4]]));
        assert!(!fits(&[[0x80].as_slice(); 10]));
        assert!(!fits(&[[].as_slice(); 11]));
    }

    #[test]
    fn unknown_columns_are_skipped_and_missing_ones_read_as_zeros() {
        let mut document = vec![0x83]; // a map of three
        document.extend_from_slice(&[1, 0xc4, 2, 5, 6]); // at: 5, 6
        document.extend_from_slice(&[0xcd, 0x03, 0xe8, 0x92, 0xc4, 1, 1, 0xc4, 0]); // 1000: two planes
        document.extend_from_slice(&[60, 0xc4, 2, 0xc8, 0x01]); // status: 200
        let bytes: ColumnBytes<'_> = rmp_serde::from_slice(&document).unwrap();
        let mut columns = bytes.numbers();
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
            rmp_serde::to_vec(&LaidOut::of(&columns)).unwrap(),
            [0x81, 32, 0xc4, 2, 0, 1]
        );
    }
}
