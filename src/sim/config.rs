use serde::{Deserialize, Serialize};

use super::SimError;
use super::profile;

/// Every parameter of a simulated server. docs/simulator.md has the formulas they stand in.
///
/// ```
/// # fn main() -> Result<(), reenact::sim::SimError> {
/// let candidate = reenact::sim::Config::profile("small")?.with_seed(7).with_slowdown(1.3);
/// # candidate.validate()
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name it lists in `/v1/models`.
    pub model: String,
    /// Refuse requests for any other model with 404, instead of answering as whatever was asked for.
    pub strict_model: bool,
    /// What every answer, length and jitter is a function of.
    pub seed: u64,

    /// Microseconds that any step takes.
    pub step_base_us: f64,
    /// Microseconds that each sequence in a step adds.
    pub step_per_sequence_us: f64,
    /// Nanoseconds that each token of context adds, over all sequences of a step.
    pub step_per_context_token_ns: f64,
    /// Prompt tokens computed per second; 0: prefill costs nothing.
    pub prefill_tokens_per_s: f64,
    /// Factor on the time of every step.
    pub slowdown: f64,
    /// How far a step's time may stray, as a share of it (`0.05`: ±5 %, evenly).
    pub jitter: f64,

    /// Sequences that run at once.
    pub max_num_seqs: u32,
    /// Tokens that one step computes, prefill and decode together.
    pub max_num_batched_tokens: u32,
    /// Tokens of prompt and answer that one sequence may have. The KV capacity is a bound too.
    pub max_model_len: u32,
    /// Sequences that may wait; absent: any number.
    pub max_waiting: Option<u32>,
    /// Status of a request that finds the queue full: 503 or 429.
    pub reject_status: u16,

    /// Tokens that the KV cache holds (rounded down to whole blocks).
    pub kv_capacity_tokens: u32,
    /// Tokens in a KV block.
    pub block_tokens: u32,
    /// Keep the blocks of finished sequences and reuse them for prompts that begin alike.
    pub prefix_cache: bool,

    /// Median answer length in tokens, where a request does not force one.
    pub answer_tokens_median: u32,
    /// Spread of answer lengths: the standard deviation of their logarithm.
    pub answer_tokens_sigma: f64,

    /// Memory of its simulated GPU, in bytes; 0: it tells of none.
    pub vram_bytes: u64,
    /// Bytes of that memory that it loses every second.
    pub memory_leak_bytes: u64,

    /// Share of requests that fail with 500, chosen by the seed and the request's number.
    pub error_rate: f64,
    /// With more requests than this in the engine, a request's answer depends on which it is, as where results depend on the batch;
    /// absent: answers never do.
    pub nondeterministic_above: Option<u32>,
    /// Largest request body accepted, in bytes.
    pub max_body_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        profile::small()
    }
}

impl Config {
    /// The parameters of a named profile (see [`PROFILES`](super::PROFILES)).
    ///
    /// # Errors
    /// When there is no profile of that name.
    pub fn profile(name: &str) -> Result<Self, SimError> {
        profile::named(name)
            .map(|profile| (profile.build)())
            .ok_or_else(|| SimError::UnknownProfile {
                name: name.to_owned(),
                known: profile::names(),
            })
    }

    /// Sets the listed model name.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes every step this many times as long.
    #[must_use]
    pub fn with_slowdown(mut self, factor: f64) -> Self {
        self.slowdown = factor;
        self
    }

    /// Sets how many tokens the KV cache holds.
    #[must_use]
    pub fn with_kv_capacity_tokens(mut self, tokens: u32) -> Self {
        self.kv_capacity_tokens = tokens;
        self
    }

    /// Sets how many sequences run at once.
    #[must_use]
    pub fn with_max_num_seqs(mut self, sequences: u32) -> Self {
        self.max_num_seqs = sequences;
        self
    }

    /// KV blocks in all.
    pub fn kv_blocks(&self) -> u32 {
        self.kv_capacity_tokens / self.block_tokens.max(1)
    }

    /// The longest sequence there can be: what the model allows and the KV cache holds.
    pub fn longest_sequence(&self) -> u32 {
        self.max_model_len
            .min(self.kv_blocks().saturating_mul(self.block_tokens))
    }

    /// Checks that the parameters make sense together.
    ///
    /// # Errors
    /// The first parameter that does not, and what would.
    pub fn validate(&self) -> Result<(), SimError> {
        let costs = [
            ("step-base", self.step_base_us),
            ("step-per-sequence", self.step_per_sequence_us),
            ("step-per-context-token", self.step_per_context_token_ns),
            ("prefill-tokens-per-s", self.prefill_tokens_per_s),
            ("answer-tokens-sigma", self.answer_tokens_sigma),
        ];
        for (parameter, value) in costs {
            require(
                value.is_finite() && value >= 0.0,
                parameter,
                "must be a number of at least 0",
            )?;
        }
        require(
            self.slowdown.is_finite() && self.slowdown > 0.0,
            "slowdown",
            "must be above 0",
        )?;
        require(
            (0.0..1.0).contains(&self.jitter),
            "jitter",
            "must be at least 0 and below 1",
        )?;
        require(
            (0.0..=1.0).contains(&self.error_rate),
            "error-rate",
            "must lie between 0 and 1",
        )?;
        require(self.max_num_seqs >= 1, "max-num-seqs", "must be at least 1")?;
        require(
            self.max_num_batched_tokens >= self.max_num_seqs,
            "max-num-batched-tokens",
            "must be at least max-num-seqs, so that every running sequence moves in each step",
        )?;
        require(
            (1..=4096).contains(&self.block_tokens),
            "block-tokens",
            "must lie between 1 and 4096",
        )?;
        require(
            (1..=MAX_BLOCKS).contains(&self.kv_blocks()),
            "kv-capacity-tokens",
            "must make between 1 and 4194304 blocks",
        )?;
        require(
            self.max_model_len >= 2,
            "max-model-len",
            "must be at least 2",
        )?;
        require(
            matches!(self.reject_status, 429 | 503),
            "reject-status",
            "must be 429 or 503",
        )?;
        require(
            self.answer_tokens_median >= 1,
            "answer-tokens-median",
            "must be at least 1",
        )
    }
}

/// Bounds what the table of blocks takes (32 bytes each).
const MAX_BLOCKS: u32 = 1 << 22;

fn require(holds: bool, parameter: &'static str, rule: &'static str) -> Result<(), SimError> {
    if holds {
        Ok(())
    } else {
        Err(SimError::Parameter { parameter, rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_valid_and_survives_a_round_trip_through_toml() {
        for profile in &super::super::PROFILES {
            let config = Config::profile(profile.name).unwrap();
            config.validate().unwrap();
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<Config>(&written).unwrap(), config);
        }
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_known_ones() {
        let error = Config::profile("smal").unwrap_err().to_string();
        assert!(
            error.contains("smal") && error.contains("small, large"),
            "{error}"
        );
    }

    #[test]
    fn a_senseless_parameter_is_named() {
        for (config, parameter) in [
            (
                Config {
                    slowdown: 0.0,
                    ..Config::default()
                },
                "slowdown",
            ),
            (
                Config {
                    step_base_us: f64::NAN,
                    ..Config::default()
                },
                "step-base",
            ),
            (
                Config {
                    max_num_batched_tokens: 1,
                    ..Config::default()
                },
                "max-num-batched-tokens",
            ),
            (
                Config {
                    kv_capacity_tokens: 15,
                    ..Config::default()
                },
                "kv-capacity-tokens",
            ),
            (
                Config {
                    reject_status: 200,
                    ..Config::default()
                },
                "reject-status",
            ),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(parameter), "{error}");
        }
    }
}
