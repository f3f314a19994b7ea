//! Which words are one token of the target.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::error::TargetError;
use super::prober::{Prober, Question};
use crate::anonymise::PromptTokenizer;
use crate::replay::prompt::PromptOptions;
use crate::shape::{Endpoint, Role};

/// What became of the words that prompts are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Vocabulary {
    /// Words at first.
    pub words: usize,
    /// Left out: more than one token of the target each.
    pub dropped: usize,
    /// Who told.
    pub source: VocabularySource,
}

/// Who told which words are one token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VocabularySource {
    /// Nobody: the words are taken as they are, and the error is measured.
    #[default]
    Nobody,
    /// The target's tokenizer, as a file.
    Tokenizer,
    /// The target's `/tokenize`.
    Tokenize,
    /// The target's counts of prompts.
    Counts,
}

/// Words in one question: as many as the longest probe has.
const GROUP: usize = 1025;
/// Groups of so few that are more tokens than words are left out whole.
const SMALLEST: usize = 4;
/// Questions that are spent on finding the words that split; after them a word's neighbours go with it.
const MOST_QUESTIONS: u32 = 200;
/// Where the words are more tokens than this above one each, none is left out: the vocabulary is another, and a slope tells more.
const MOST_SPLIT: f64 = 0.1;

/// Leaves out the words that the target splits, as far as anybody tells.
pub(super) async fn check(
    prober: &mut Prober<'_>,
    recorded: Endpoint,
    endpoint: Endpoint,
    options: &PromptOptions,
) -> Result<Vocabulary, TargetError> {
    let words = Arc::clone(&options.words);
    let all: Vec<&str> = words.all().collect();
    let is_one = |tokenizer: &PromptTokenizer, text: &str| {
        let tokens = tokenizer.tokens(text);
        tokens.is_some_and(|tokens| tokens.len() == 1)
    };
    let (split, source) = if let Some(tokenizer) = &options.tokenizer {
        let is_split = |word: &&&str| !is_one(tokenizer, &format!(" {word}"));
        let split: Vec<&str> = all.iter().filter(is_split).copied().collect();
        (Some(split), VocabularySource::Tokenizer)
    } else {
        let mut search = Search {
            prober,
            recorded,
            endpoint,
            by_tokenize: true,
            around: 0,
        };
        match search.around().await? {
            Some(source) => (search.split(&all).await?, source),
            None => (None, VocabularySource::Nobody),
        }
    };
    let split: HashSet<&str> = split.unwrap_or_default().into_iter().collect();
    let mut kept = words.as_ref().clone();
    if split.len() < all.len() {
        kept = kept.keeping(|word| !split.contains(word));
    }
    let dropped = all.len() - kept.count();
    if let Some(tokenizer) = &options.tokenizer {
        // No space stands before these.
        kept = kept.opening(|word| is_one(tokenizer, word));
    }
    prober.words = Arc::new(kept);
    Ok(Vocabulary {
        words: words.count(),
        dropped,
        source,
    })
}

struct Search<'a, 'b> {
    prober: &'a mut Prober<'b>,
    recorded: Endpoint,
    endpoint: Endpoint,
    by_tokenize: bool,
    /// Tokens of a question beside its words.
    around: i64,
}

impl Search<'_, '_> {
    /// Finds out who tells, and what a prompt costs beside the words in question.
    async fn around(&mut self) -> Result<Option<VocabularySource>, TargetError> {
        for (by_tokenize, source) in [
            (true, VocabularySource::Tokenize),
            (false, VocabularySource::Counts),
        ] {
            self.by_tokenize = by_tokenize;
            if let Some(count) = self.count(&[]).await? {
                self.around = count;
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    async fn count(&mut self, words: &[&str]) -> Result<Option<i64>, TargetError> {
        // An opener before them all, so that each has its space.
        let text = [&["the"], words].concat().join(" ");
        let count = if self.by_tokenize {
            self.prober.tokenize(&text).await
        } else {
            let mut question = Question::new(self.recorded, self.endpoint, &[(Role::User, 0)]);
            question.text = Some(text);
            self.prober.may(&question).await?.prompt_tokens
        };
        Ok(count.map(i64::from))
    }

    /// The words that are more than one token each, and some of their neighbours where finding each would take too many questions;
    /// `None` where that cannot be found out, or most of a vocabulary would have to go.
    async fn split<'w>(&mut self, all: &[&'w str]) -> Result<Option<Vec<&'w str>>, TargetError> {
        let mut suspects: VecDeque<&[&'w str]> = VecDeque::new();
        let mut excess = 0;
        for group in all.chunks(GROUP) {
            // Longer than the target takes, where it does not tell.
            let Some(more) = self.excess(group).await? else {
                return Ok(None);
            };
            excess += more.abs();
            if more != 0 {
                suspects.push_back(group);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "some thousand words")]
        if excess as f64 > all.len() as f64 * MOST_SPLIT {
            return Ok(None);
        }
        let mut left = MOST_QUESTIONS;
        let mut split = Vec::new();
        // The largest first, so that what is left when questions run out are small groups.
        while let Some(group) = suspects.pop_front() {
            if group.len() <= SMALLEST || left < 2 {
                split.extend_from_slice(group);
                continue;
            }
            let (low, high) = group.split_at(group.len() / 2);
            for half in [low, high] {
                left -= 1;
                if self.excess(half).await? != Some(0) {
                    suspects.push_back(half);
                }
            }
        }
        Ok(Some(split).filter(|split| split.len() < all.len() / 2))
    }

    /// Tokens of these words beyond one each.
    async fn excess(&mut self, words: &[&str]) -> Result<Option<i64>, TargetError> {
        let count = self.count(words).await?;
        let usual = i64::try_from(words.len()).unwrap_or(i64::MAX);
        Ok(count.map(|count| count - self.around - usual))
    }
}
