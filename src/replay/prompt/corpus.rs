use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::words::{LONGEST, Words};

/// Why a text gives no words. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// It holds too few words to tell prompts apart.
    #[error("{} holds {found} different words of at most {LONGEST} bytes; {LEAST} are needed", path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Words in it.
        found: usize,
    },
}

/// Blocks of text must differ from one another.
const LEAST: usize = 50;
/// Bytes of a text that are read; more tell nothing new.
const MOST_BYTES: u64 = 64 << 20;
/// Different words that are kept: the commonest.
const MOST_WORDS: usize = 8192;
/// Letters of a piece of text that is written without spaces.
const UNSPACED: usize = 3;

impl Words {
    /// The commonest words of the user's own text, which is read up to 64 MiB and kept nowhere. Words are runs of letters; scripts
    /// without spaces are cut into pieces of up to three letters.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, or holds too few words.
    pub fn from_corpus(path: &Path) -> Result<Self, CorpusError> {
        let unreadable = |error| CorpusError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            // The limit may have cut a letter in two.
            Err(error) if error.error_len().is_none() && bytes.len() as u64 == MOST_BYTES => {
                let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).unwrap_or_default()
            }
            Err(_) => return Err(CorpusError::NotText(path.to_owned())),
        };
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for run in text.split(|letter: char| !letter.is_alphabetic()) {
            for word in pieces(run).filter(|word| word.len() <= LONGEST as usize) {
                *counts.entry(word).or_default() += 1;
            }
        }
        if counts.len() < LEAST {
            return Err(CorpusError::TooFew {
                path: path.to_owned(),
                found: counts.len(),
            });
        }
        let mut words: Vec<(&str, u64)> = counts.into_iter().collect();
        // By name among equals, so that the same text gives the same words.
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        words.truncate(MOST_WORDS);
        Ok(Self::of(words.into_iter().map(|(word, _)| word)))
    }
}

/// The words of a run of letters: itself, or pieces of it where its script needs no spaces.
fn pieces(run: &str) -> impl Iterator<Item = &str> {
    let unspaced = run.chars().next().is_some_and(is_unspaced);
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = match unspaced {
            true => rest.char_indices().nth(UNSPACED).map(|(at, _)| at),
            false => None,
        };
        let (piece, after) = rest.split_at(cut.unwrap_or(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// Thai, Lao, Khmer, Burmese, and the East Asian scripts but Korean.
fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0x20000..=0x2ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &[u8]) -> Result<Words, CorpusError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corpus.txt");
        std::fs::write(&path, text).unwrap();
        Words::from_corpus(&path)
    }

    #[test]
    fn words_are_the_commonest_runs_of_letters() {
        let mut text = "Straße, straße; 12 Wörter! unausweichlichkeiten ".repeat(3);
        for letter in 'a'..='z' {
            text += &format!("{letter}{letter}q {letter}wx ");
        }
        let words = corpus(text.as_bytes()).unwrap();
        assert_eq!(words.count(), 3 + 52);
        assert!(words.all().any(|word| word == "Wörter"));
        assert!(words.all().all(|word| word.len() <= LONGEST as usize));
    }

    #[test]
    fn scripts_without_spaces_are_cut() {
        let text: String = (0..300)
            .map(|i| char::from_u32(0x4e00 + i).unwrap())
            .collect();
        assert_eq!(corpus(text.as_bytes()).unwrap().count(), 100);
    }

    #[test]
    fn what_is_no_text_is_refused_without_a_word_of_it() {
        let error = corpus(b"").unwrap_err().to_string();
        assert!(error.contains("holds 0 different words"), "{error}");
        assert!(matches!(
            corpus(b"secret \xff\xfe"),
            Err(CorpusError::NotText(_))
        ));
        let few = corpus(b"secret words").unwrap_err().to_string();
        assert!(
            few.contains("50 are needed") && !few.contains("secret"),
            "{few}"
        );
        assert!(matches!(
            Words::from_corpus(Path::new("/nowhere/at/all")),
            Err(CorpusError::Unreadable { .. })
        ));
    }
}
