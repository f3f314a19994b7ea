//! Named sets of parameters. Where the figures come from is in docs/simulator.md.

use super::Config;

/// A named set of parameters.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// What `--profile` takes.
    pub name: &'static str,
    /// What it is like, in a line.
    pub about: &'static str,
    pub(crate) build: fn() -> Config,
}

/// All profiles, the default first.
pub static PROFILES: [Profile; 5] = [
    Profile {
        name: "fast",
        about: "to try things with: 1 ms steps, a million prompt tokens/s, 512 sequences, room for a million tokens",
        build: fast,
    },
    Profile {
        name: "small",
        about: "an 8B model on one GPU with room for 60k tokens: 8 ms steps, 12k prompt tokens/s, 64 sequences",
        build: small,
    },
    Profile {
        name: "large",
        about: "a 70B model on four GPUs with room for 320k tokens: 22 ms steps, 10k prompt tokens/s, 256 sequences",
        build: large,
    },
    Profile {
        name: "tiny",
        about: "for tests of pressure: as fast, but 16 sequences and room for 8k tokens",
        build: tiny,
    },
    Profile {
        name: "null",
        about: "answers at once, with as many tokens as asked for: the fastest upstream, to check a load generator with",
        build: null,
    },
];

pub(crate) fn named(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

pub(crate) fn names() -> String {
    PROFILES.map(|profile| profile.name).join(", ")
}

/// 16 GB of weights read at 2 TB/s make 8 ms; 128 KiB of KV a token at the same rate 65 ns.
pub(crate) fn small() -> Config {
    Config {
        model: "sim-small".to_owned(),
        strict_model: false,
        seed: 0,
        step_base_us: 8_000.0,
        step_per_sequence_us: 30.0,
        step_per_context_token_ns: 65.0,
        prefill_tokens_per_s: 12_000.0,
        slowdown: 1.0,
        jitter: 0.0,
        max_num_seqs: 64,
        max_num_batched_tokens: 2_048,
        max_model_len: 32_768,
        max_waiting: None,
        reject_status: 503,
        kv_capacity_tokens: 61_440,
        block_tokens: 16,
        prefix_cache: true,
        answer_tokens_median: 150,
        answer_tokens_sigma: 0.8,
        vram_bytes: 0,
        memory_leak_bytes: 0,
        error_rate: 0.0,
        nondeterministic_above: None,
        max_body_bytes: 256 << 20,
    }
}

/// 140 GB of weights over four GPUs at 2.3 TB/s each make 15 ms, and all-reduces 7 ms; 320 KiB of KV a token 40 ns.
fn large() -> Config {
    Config {
        model: "sim-large".to_owned(),
        step_base_us: 22_000.0,
        step_per_sequence_us: 60.0,
        step_per_context_token_ns: 40.0,
        prefill_tokens_per_s: 10_000.0,
        max_num_seqs: 256,
        max_num_batched_tokens: 8_192,
        max_model_len: 131_072,
        kv_capacity_tokens: 327_680,
        answer_tokens_median: 250,
        ..small()
    }
}

fn fast() -> Config {
    Config {
        model: "sim-fast".to_owned(),
        step_base_us: 1_000.0,
        step_per_sequence_us: 2.0,
        step_per_context_token_ns: 0.5,
        prefill_tokens_per_s: 1_000_000.0,
        max_num_seqs: 512,
        max_num_batched_tokens: 16_384,
        max_model_len: 131_072,
        kv_capacity_tokens: 1 << 20,
        answer_tokens_median: 40,
        ..small()
    }
}

fn tiny() -> Config {
    Config {
        model: "sim-tiny".to_owned(),
        max_num_seqs: 16,
        max_num_batched_tokens: 512,
        max_model_len: 4_096,
        kv_capacity_tokens: 8_192,
        ..fast()
    }
}

fn null() -> Config {
    Config {
        model: "sim-null".to_owned(),
        step_base_us: 0.0,
        step_per_sequence_us: 0.0,
        step_per_context_token_ns: 0.0,
        prefill_tokens_per_s: 0.0,
        max_num_seqs: 1 << 16,
        max_num_batched_tokens: 1 << 24,
        max_model_len: 1 << 21,
        kv_capacity_tokens: 1 << 23,
        prefix_cache: false,
        ..fast()
    }
}
