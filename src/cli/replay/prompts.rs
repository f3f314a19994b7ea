//! Options that say what is in the requests and how long the answers shall be.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::failure::{Failure, HintExt};
use crate::cli::values;
use crate::replay::{Cache, LengthPolicy, PromptAs, RunOptions, Words};
use crate::shape::Endpoint;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Prompts and answers")]
pub(super) struct PromptArgs {
    /// Draw what is drawn with this, words and sessions: the same trace and seed send the same bytes
    ///
    /// Without it, sessions are drawn with 0, so that replays can be compared, and words anew each time, so that no replay finds the prompts
    /// of an earlier one in the target's cache. Shards draw the same words, by their --start-at.
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>)]
    seed: Option<u64>,

    /// How long answers shall be: as recorded, at most as recorded, or as the recorded request allowed
    #[arg(long, default_value = "exact", value_name = "HOW")]
    output_length: OutputLength,

    /// Whether a target may find prompts of an earlier run, or an earlier replay, in its prefix cache: by default every run has words of its
    /// own
    #[arg(long, default_value = "fresh", value_name = "HOW")]
    cache: CacheChoice,

    /// The candidate's tokenizer.json: words that it splits are left out, so that prompts are exact to the token where the target
    /// does not tell its counts, and prompts sent as token ids are its own tokens
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Draw the words of the prompts from this UTF-8 text instead of the built-in list (up to 64 MiB of it are read)
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,

    /// Tokens of the candidate for each recorded one, of prompts and answers: for a model whose vocabulary cuts the same text
    /// into more or fewer
    #[arg(long, default_value = "1", value_name = "X", value_parser = ratio)]
    token_ratio: f64,

    /// How prompts of /v1/completions and embeddings go out: as recorded where the target takes it, as text, or as token ids
    #[arg(long, default_value = "auto", value_name = "HOW")]
    prompt_as: PromptForm,

    /// Send everything to this endpoint (as `inspect` names them: chat_completions, messages, ollama_chat, …); by default to the
    /// recorded one, or to one of its kind where the target lacks that
    #[arg(long = "as", value_name = "ENDPOINT", value_parser = endpoint)]
    send_as: Option<Endpoint>,

    /// Ask for model CAND where the recorded request asked for REC (its name, where the trace kept it, or model-0, model-1, …);
    /// repeatable. All others ask for --model
    #[arg(long, value_name = "REC=CAND", value_parser = model_pair)]
    model_map: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OutputLength {
    Exact,
    Cap,
    Free,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CacheChoice {
    Fresh,
    Keep,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PromptForm {
    Auto,
    Text,
    TokenIds,
}

impl PromptArgs {
    /// Takes them over. `in_common`: a number that all shards of this replay have, where it is one.
    pub(super) fn apply(
        &self,
        options: &mut RunOptions,
        in_common: Option<u64>,
    ) -> Result<(), Failure> {
        options.seed = self.seed.unwrap_or(0);
        options.words_seed = match (self.seed, self.cache, in_common) {
            (Some(seed), ..) => seed,
            (None, CacheChoice::Keep, _) => 0,
            (None, CacheChoice::Fresh, Some(number)) => number,
            // Small enough for every reader of JSON.
            (None, CacheChoice::Fresh, None) => getrandom::u32()
                .map_err(|error| {
                    Failure::could_not_run(anyhow::anyhow!("no random number: {error}"))
                })?
                .into(),
        };
        options.cache = match self.cache {
            CacheChoice::Fresh => Cache::Fresh,
            CacheChoice::Keep => Cache::Keep,
        };
        options.output_length = match self.output_length {
            OutputLength::Exact => LengthPolicy::Exact,
            OutputLength::Cap => LengthPolicy::Cap,
            OutputLength::Free => LengthPolicy::Free,
        };
        let prompts = &mut options.prompts;
        prompts.prompt_as = match self.prompt_as {
            PromptForm::Auto => PromptAs::Auto,
            PromptForm::Text => PromptAs::Text,
            PromptForm::TokenIds => PromptAs::TokenIds,
        };
        prompts.token_ratio = self.token_ratio;
        prompts.send_as = self.send_as;
        prompts.model_map = self.model_map.iter().cloned().collect();
        if let Some(path) = &self.tokenizer {
            prompts.tokenizer = Some(values::tokenizer(path)?);
        }
        if let Some(path) = &self.corpus {
            let words = Words::from_corpus(path)
                .map_err(|error| Failure::usage(anyhow::anyhow!("--corpus: {error}")))
                .hint("give a text of some pages, in UTF-8, with words of your own traffic's language")?;
            prompts.words = Arc::new(words);
        }
        Ok(())
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.05..=20.0).contains(&ratio) => Ok(ratio),
        _ => Err("write a number from 0.05 to 20, such as 1.15".to_owned()),
    }
}

fn endpoint(name: &str) -> Result<Endpoint, String> {
    let inference = |endpoint: &Endpoint| endpoint.is_inference();
    Endpoint::named(name).filter(inference).ok_or_else(|| {
        let names = Endpoint::ALL.into_iter().filter(inference);
        let names: Vec<_> = names.map(Endpoint::name).collect();
        format!(
            "there is no such endpoint to send to; there are {}",
            names.join(", ")
        )
    })
}

fn model_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((recorded, candidate)) if !recorded.is_empty() && !candidate.is_empty() => {
            Ok((recorded.to_owned(), candidate.to_owned()))
        }
        _ => Err("write RECORDED=CANDIDATE, such as model-0=llama-70b".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_say_what_would_be_right() {
        assert_eq!(ratio("1.5"), Ok(1.5));
        assert!(
            ["0", "nan", "-1", "x", "1e9"]
                .iter()
                .all(|text| ratio(text).is_err())
        );
        assert_eq!(endpoint("messages"), Ok(Endpoint::Messages));
        assert!(
            endpoint("metrics")
                .unwrap_err()
                .contains("chat_completions")
        );
        assert!(endpoint("chat").is_err());
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(model_pair("model-0=org/m"), pair("model-0", "org/m"));
        assert!(
            ["", "=", "a=", "=b", "a"]
                .iter()
                .all(|text| model_pair(text).is_err())
        );
    }
}
