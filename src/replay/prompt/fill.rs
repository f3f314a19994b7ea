use super::dice::Dice;
use super::words::{LONGEST, Words};

/// Bytes of the shortest word that carries some meaning of its own, with its space. (One-letter words would fit more tokens
/// into a block, but there is only one, and blocks must differ.)
const NARROWEST: u64 = 3;
/// Bytes of the longest word, with its space.
const WIDEST: u64 = LONGEST as u64 + 1;

/// How many words fit exactly into `bytes` bytes, fewest and most; `opens` where they stand at the start of a message and the
/// first word has no space before it.
pub(super) fn fitting(bytes: u64, opens: bool) -> (u64, u64) {
    match bytes + u64::from(opens) {
        0 => (0, 0),
        1 if opens => (0, 0),
        1 | 2 => (1, 1),
        room => (room.div_ceil(WIDEST), room / NARROWEST),
    }
}

/// Writes exactly `words` words, in exactly `bytes` bytes where that many fit (see [`fitting`]) and the list has words of every length; else
/// tokens win over bytes.
pub(super) fn fill(
    out: &mut String,
    bytes: u64,
    words: u64,
    opens: bool,
    list: &Words,
    dice: &mut Dice,
) {
    let (fewest, most) = fitting(bytes, opens);
    let mut room = bytes + u64::from(opens);
    let mut opens = opens;
    let mut left = words;
    if left > 0 && room < NARROWEST {
        match room {
            1 if !opens => out.push(','),
            _ => {
                if !opens {
                    out.push(' ');
                }
                out.push_str(list.shortest(opens));
            }
        }
        opens = false;
        left -= 1;
    }
    while left > 0 {
        let wide = if words > most {
            NARROWEST
        } else if words < fewest {
            WIDEST
        } else {
            let low = room.saturating_sub(WIDEST * (left - 1));
            let high = room.saturating_sub(NARROWEST * (left - 1));
            // Where words were shorter or longer than there was room for, none may be left that fits.
            let low = low.clamp(NARROWEST, WIDEST);
            let high = high.clamp(low, WIDEST);
            // Around the mean, so that the last words need not make up for the first.
            let mean = room / left;
            let low_near = low.max(mean.saturating_sub(2).min(high));
            let high_near = high.min((mean + 2).max(low));
            low_near + dice.below(high_near - low_near + 1)
        };
        if !opens {
            out.push(' ');
        }
        let letters = u32::try_from(wide - 1).unwrap_or(LONGEST);
        let word = list.of_length(letters, opens, dice);
        out.push_str(word);
        room = room.saturating_sub(word.len() as u64 + 1);
        opens = false;
        left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::{Cache, Salt, Subject};
    use super::*;
    use proptest::prelude::*;

    fn text(seed: u64, bytes: u64, words: u64, opens: bool) -> String {
        text_of(&Words::house(), seed, bytes, words, opens)
    }

    fn text_of(list: &Words, seed: u64, bytes: u64, words: u64, opens: bool) -> String {
        let mut out = String::new();
        let mut dice = Dice::new(Salt::new(seed, Cache::Fresh, 0), Subject::Tail(0));
        fill(&mut out, bytes, words, opens, list, &mut dice);
        out
    }

    proptest! {
        #[test]
        fn words_that_fit_fill_the_bytes_exactly(
            seed in any::<u64>(),
            bytes in 0_u64..3000,
            opens in any::<bool>(),
            pick in 0.0..1.0_f64,
        ) {
            let (fewest, most) = fitting(bytes, opens);
            let words = fewest + ((most - fewest) as f64 * pick).round() as u64;
            let text = text(seed, bytes, words, opens);
            prop_assert_eq!(text.len() as u64, bytes, "{:?}", text);
            prop_assert_eq!(super::super::tests::sim_tokens(&text), words);
        }

        #[test]
        fn words_that_do_not_fit_are_written_all_the_same(
            seed in any::<u64>(),
            bytes in 0_u64..200,
            words in 0_u64..200,
            opens in any::<bool>(),
        ) {
            let text = text(seed, bytes, words, opens);
            prop_assert_eq!(super::super::tests::sim_tokens(&text), words, "{:?}", text);
        }

        #[test]
        fn a_list_that_lacks_lengths_is_written_with_its_own_words_and_as_many(
            seed in any::<u64>(),
            bytes in 0_u64..3000,
            opens in any::<bool>(),
            words in 0_u64..400,
            long in any::<bool>(),
        ) {
            let own = if long { ["abstrakter", "beiwerk"] } else { ["xyz", "quux"] };
            let list = Words::of(own.into_iter());
            let text = text_of(&list, seed, bytes, words, opens);
            prop_assert_eq!(text.matches(' ').count() as u64 + u64::from(opens && words > 0),
                words - text.matches(',').count() as u64);
            let foreign = text.split([' ', ',']).find(|word| !word.is_empty() && !own.contains(word));
            prop_assert_eq!(foreign, None);
        }
    }

    #[test]
    fn a_full_block_takes_six_to_twenty_one_words() {
        assert_eq!(fitting(64, false), (6, 21));
    }
}
