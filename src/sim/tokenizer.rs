//! The simulator's own tokenizer: a rule, not a vocabulary, so that any program can count with it.
//!
//! Text is cut, from left to right, into
//! * an optional single space and a run of ASCII letters: one token for every 12 letters begun;
//! * a run of ASCII digits: one token for every 3 begun;
//! * any other ASCII character (a line end, punctuation, a space that no letter follows): one token;
//! * a run of non-ASCII bytes: one token for every 3 begun.
//!
//! A token's id is a 31-bit hash of its bytes. What a chat message adds is in [`PromptTokens`](super::template::PromptTokens).

/// Letters that one token holds at most.
const LETTERS: usize = 12;
/// Digits, or non-ASCII bytes, that one token holds at most.
const RUN: usize = 3;

/// How many tokens `text` has.
#[cfg(test)]
pub(super) fn count(text: &str) -> u64 {
    let mut tokens = 0;
    cut(text.as_bytes(), |_| tokens += 1);
    tokens
}

/// The ids of `text`'s tokens, in order.
#[cfg(test)]
pub(super) fn ids(text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    each_id(text, |id| ids.push(id));
    ids
}

/// Hands the id of each of `text`'s tokens to `take`.
pub(crate) fn each_id(text: &str, mut take: impl FnMut(u32)) {
    cut(text.as_bytes(), |piece| take(id_of(piece)));
}

/// The id of one whole token: FNV-1a, folded to 31 bits so that it passes for a vocabulary index everywhere.
pub(crate) fn id_of(piece: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in piece {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ((hash ^ (hash >> 32)) & 0x7fff_ffff) as u32
}

fn cut<'a>(text: &'a [u8], mut take: impl FnMut(&'a [u8])) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let length = match first {
            b' ' if after.first().is_some_and(u8::is_ascii_alphabetic) => {
                1 + run(after, u8::is_ascii_alphabetic).min(LETTERS)
            }
            b'a'..=b'z' | b'A'..=b'Z' => run(rest, u8::is_ascii_alphabetic).min(LETTERS),
            b'0'..=b'9' => run(rest, u8::is_ascii_digit).min(RUN),
            0x80.. => run(rest, |byte| !byte.is_ascii()).min(RUN),
            _ => 1,
        };
        let (piece, left) = rest.split_at(length);
        take(piece);
        rest = left;
    }
}

/// How many bytes at the start are of one class; looks no further than the longest token.
fn run(bytes: &[u8], of_class: impl Fn(&u8) -> bool) -> usize {
    bytes
        .iter()
        .take(LETTERS)
        .take_while(|byte| of_class(byte))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_counts_as_written() {
        for (text, tokens) in [
            ("", 0),
            ("hello", 1),
            (" hello", 1),
            ("hello world", 2),
            ("  hello", 2),
            ("twelveletter", 1),
            ("thirteenletrs", 2),
            (" thirteenletrs", 2),
            ("2024", 2),
            (" 7", 2),
            ("a1b22", 4),
            ("{\"a\": 1}", 8),
            ("\n\n", 2),
            ("é", 1),
            ("日本", 2),
            ("naïve", 3),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_join_up_to_the_text_and_ids_are_small(text in "[ a-z0-9é{}\\n]{0,200}") {
            let mut joined = Vec::new();
            cut(text.as_bytes(), |piece| joined.extend_from_slice(piece));
            prop_assert_eq!(joined, text.as_bytes());
            prop_assert_eq!(ids(&text).len() as u64, count(&text));
            prop_assert!(ids(&text).iter().all(|id| *id < 1 << 31));
        }
    }
}
