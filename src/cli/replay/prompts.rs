//! Options that say what is in the requests and how long the answers shall be.

use crate::replay::{Cache, LengthPolicy, RunOptions};

#[derive(Debug, clap::Args)]
pub(super) struct PromptArgs {
    /// What the words of the prompts are drawn with: the same trace and seed send the same bytes
    #[arg(long, default_value = "0", value_name = "N")]
    seed: u64,

    /// How long answers shall be: as recorded, at most as recorded, or as the recorded request allowed
    #[arg(long, default_value = "exact", value_name = "HOW")]
    output_length: OutputLength,

    /// Whether a target may find prompts of an earlier run in its prefix cache: by default every run has words of its own
    #[arg(long, default_value = "fresh", value_name = "HOW")]
    cache: CacheChoice,
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

impl PromptArgs {
    pub(super) fn apply(&self, options: &mut RunOptions) {
        options.seed = self.seed;
        options.cache = match self.cache {
            CacheChoice::Fresh => Cache::Fresh,
            CacheChoice::Keep => Cache::Keep,
        };
        options.output_length = match self.output_length {
            OutputLength::Exact => LengthPolicy::Exact,
            OutputLength::Cap => LengthPolicy::Cap,
            OutputLength::Free => LengthPolicy::Free,
        };
    }
}
