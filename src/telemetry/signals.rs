use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exposition::{Line, lines};

/// Which engine a page is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// vLLM, or what speaks its names.
    Vllm,
    /// SGLang.
    Sglang,
    /// Hugging Face's text-generation-inference.
    Tgi,
    /// llama.cpp's server.
    LlamaCpp,
    /// Triton, with or without TensorRT-LLM.
    Triton,
    /// TensorRT-LLM's own server.
    Trtllm,
}

/// What an engine tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Requests in the batch.
    Running,
    /// Requests that wait for a place in it.
    Waiting,
    /// Share of the KV cache in use, 0 to 1.
    KvUsage,
    /// Requests thrown out of the batch, since the engine's start.
    Preemptions,
    /// Prompt tokens looked up in the prefix cache, since the engine's start.
    PrefixQueries,
    /// Prompt tokens found there, since the engine's start.
    PrefixHits,
    /// Share of prompt tokens found in the prefix cache of late, where the engine tells no counts.
    PrefixHitRate,
    /// Tokens that the KV cache holds at most.
    KvCapacity,
    /// Bytes that the engine's process has in the host's memory.
    HostBytes,
    /// Bytes of GPU memory that its allocator holds.
    ReservedBytes,
    /// Bytes of them that something is in.
    AllocatedBytes,
    /// Allocations that failed for want of memory, since the engine's start.
    Ooms,
    /// When the engine's process was started, in seconds since 1970.
    Started,
}

impl EngineKind {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::LlamaCpp => "llama.cpp",
            Self::Triton => "triton",
            Self::Trtllm => "tensorrt-llm",
        }
    }
}

impl Signal {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::KvUsage => "kv_cache",
            Self::Preemptions => "preemptions",
            Self::PrefixQueries => "prefix_queries",
            Self::PrefixHits => "prefix_hits",
            Self::PrefixHitRate => "prefix_hit_rate",
            Self::KvCapacity => "kv_capacity_tokens",
            Self::HostBytes => "host_memory",
            Self::ReservedBytes => "reserved_bytes",
            Self::AllocatedBytes => "allocated_bytes",
            Self::Ooms => "ooms",
            Self::Started => "started",
        }
    }

    /// Whether it counts up from the engine's start.
    pub(super) const fn counts(self) -> bool {
        matches!(
            self,
            Self::Preemptions | Self::PrefixQueries | Self::PrefixHits | Self::Ooms
        )
    }

    /// How the figures of several schedulers (data parallel ranks, models) of one engine are put together.
    pub(super) fn join(self, a: f64, b: f64) -> f64 {
        if self.adds_up() { a + b } else { a.max(b) }
    }

    /// Whether the figures of several schedulers are added up. The fullest cache is the one that preempts.
    pub(super) const fn adds_up(self) -> bool {
        !matches!(self, Self::KvUsage | Self::PrefixHitRate | Self::Started)
    }
}

use EngineKind as E;
use Signal as S;

/// Who calls which signal what. Names change between versions: of several for one signal the first on the page counts, in this
/// order (`vllm:gpu_…` and `…_perc` are of vLLM before 0.10, `llamacpp:kv_cache_usage_ratio` of builds before mid-2025).
const NAMES: &[(EngineKind, Signal, &str)] = &[
    (E::Vllm, S::Running, "vllm:num_requests_running"),
    (E::Vllm, S::Waiting, "vllm:num_requests_waiting"),
    (E::Vllm, S::KvUsage, "vllm:kv_cache_usage_perc"),
    (E::Vllm, S::KvUsage, "vllm:gpu_cache_usage_perc"),
    (E::Vllm, S::Preemptions, "vllm:num_preemptions_total"),
    (E::Vllm, S::Preemptions, "vllm:num_preemptions"),
    (E::Vllm, S::PrefixQueries, "vllm:prefix_cache_queries_total"),
    (E::Vllm, S::PrefixQueries, "vllm:prefix_cache_queries"),
    (
        E::Vllm,
        S::PrefixQueries,
        "vllm:gpu_prefix_cache_queries_total",
    ),
    (E::Vllm, S::PrefixHits, "vllm:prefix_cache_hits_total"),
    (E::Vllm, S::PrefixHits, "vllm:prefix_cache_hits"),
    (E::Vllm, S::PrefixHits, "vllm:gpu_prefix_cache_hits_total"),
    (E::Sglang, S::Running, "sglang:num_running_reqs"),
    (E::Sglang, S::Waiting, "sglang:num_queue_reqs"),
    (E::Sglang, S::KvUsage, "sglang:token_usage"),
    (
        E::Sglang,
        S::Preemptions,
        "sglang:num_retracted_requests_total",
    ),
    (E::Sglang, S::Preemptions, "sglang:num_retracted_reqs_total"),
    (E::Sglang, S::PrefixHitRate, "sglang:cache_hit_rate"),
    (E::Sglang, S::KvCapacity, "sglang:max_total_num_tokens"),
    (E::Tgi, S::Running, "tgi_batch_current_size"),
    (E::Tgi, S::Waiting, "tgi_queue_size"),
    (E::LlamaCpp, S::Running, "llamacpp:requests_processing"),
    (E::LlamaCpp, S::Waiting, "llamacpp:requests_deferred"),
    (E::LlamaCpp, S::KvUsage, "llamacpp:kv_cache_usage_ratio"),
    (E::Triton, S::Waiting, "nv_inference_pending_request_count"),
    (E::Triton, S::KvUsage, "nv_trt_llm_kv_cache_block_metrics"),
    (E::Triton, S::Running, "nv_trt_llm_request_metrics"),
    (E::Trtllm, S::Running, "trtllm_num_requests_running"),
    (E::Trtllm, S::Waiting, "trtllm_num_requests_waiting"),
    (E::Trtllm, S::KvUsage, "trtllm_kv_cache_utilization"),
    (E::Trtllm, S::PrefixHitRate, "trtllm_kv_cache_hit_rate"),
];

/// What any engine's page may tell beside: its process (Prometheus' client libraries), and PyTorch's allocator, where someone has
/// `torch.cuda.memory_stats()` shown. Of no engine's page alone.
const BESIDE: &[(Signal, &str)] = &[
    (S::HostBytes, "process_resident_memory_bytes"),
    (S::Started, "process_start_time_seconds"),
    (S::ReservedBytes, "torch_cuda_memory_reserved_bytes"),
    (S::AllocatedBytes, "torch_cuda_memory_allocated_bytes"),
    (S::Ooms, "torch_cuda_num_ooms_total"),
    (S::Ooms, "torch_cuda_num_ooms"),
];

/// Of a name that stands for several things, the one that is meant.
const MEANT: &[(&str, &str, &str)] = &[
    (
        "nv_trt_llm_kv_cache_block_metrics",
        "kv_cache_block_type",
        "fraction",
    ),
    ("nv_trt_llm_request_metrics", "request_type", "active"),
];

/// What vLLM says of its cache in labels: blocks, and tokens in a block.
const VLLM_CACHE: &str = "vllm:cache_config_info";

/// What one page says of an engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) kind: Option<EngineKind>,
    /// Values, and under which name each stood.
    pub(super) values: BTreeMap<Signal, (f64, String)>,
}

/// Reads a page; the kind is absent where no known engine wrote it.
pub(super) fn read(page: &str) -> Reading {
    // By signal: how far down the table of names, and the value so far.
    let mut best: BTreeMap<Signal, (usize, f64)> = BTreeMap::new();
    let mut reading = Reading::default();
    let mut beside = BTreeMap::new();
    for line in lines(page).filter(|line| line.value.is_finite()) {
        if line.name == VLLM_CACHE
            && let Some(tokens) = capacity(&line)
        {
            let sum = reading
                .values
                .get(&S::KvCapacity)
                .map_or(0.0, |(sum, _)| *sum);
            reading
                .values
                .insert(S::KvCapacity, (sum + tokens, line.name.to_owned()));
        }
        if let Some((signal, _)) = BESIDE.iter().find(|(_, name)| *name == line.name) {
            let known = beside.get(signal).map(|(value, _): &(f64, String)| *value);
            let joined = known.map_or(line.value, |known| signal.join(known, line.value));
            beside.insert(*signal, (joined, line.name.to_owned()));
            continue;
        }
        let Some(rank) = NAMES.iter().position(|(_, _, name)| *name == line.name) else {
            continue;
        };
        let meant = MEANT.iter().find(|(name, ..)| *name == line.name);
        if meant.is_some_and(|&(_, label, value)| line.label(label) != Some(value)) {
            continue;
        }
        let Some(&(kind, signal, _)) = NAMES.get(rank) else {
            continue;
        };
        reading.kind = reading.kind.or(Some(kind));
        let joined = match best.get(&signal) {
            Some(&(better, _)) if better < rank => continue,
            Some(&(same, value)) if same == rank => signal.join(value, line.value),
            _ => line.value,
        };
        best.insert(signal, (rank, joined));
    }
    for (signal, (rank, value)) in best {
        if let Some((_, _, name)) = NAMES.get(rank) {
            reading.values.insert(signal, (value, (*name).to_owned()));
        }
    }
    if reading.kind.is_some() {
        reading.values.append(&mut beside);
    }
    reading
}

fn capacity(line: &Line<'_>) -> Option<f64> {
    let number = |label| line.label(label)?.parse::<f64>().ok();
    let tokens = number("num_gpu_blocks")? * number("block_size")?;
    (tokens > 0.0 && tokens.is_finite()).then_some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(reading: &Reading, signal: Signal) -> Option<f64> {
        reading.values.get(&signal).map(|(value, _)| *value)
    }

    #[test]
    fn ranks_are_added_up_and_the_fullest_cache_counts() {
        let page = "vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n\
                    vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.7\n\
                    vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"100\"} 1\n";
        let reading = read(page);
        assert_eq!(reading.kind, Some(EngineKind::Vllm));
        assert_eq!(value(&reading, Signal::Running), Some(7.0));
        assert_eq!(value(&reading, Signal::KvUsage), Some(0.7));
        assert_eq!(value(&reading, Signal::KvCapacity), Some(1600.0));
    }

    #[test]
    fn a_newer_name_counts_before_an_older_one_wherever_it_stands() {
        let page = "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.8\n";
        let reading = read(page);
        assert_eq!(
            reading.values[&Signal::KvUsage],
            (0.5, "vllm:kv_cache_usage_perc".to_owned())
        );
        assert_eq!(
            value(&read("vllm:gpu_cache_usage_perc 0.9\n"), Signal::KvUsage),
            Some(0.9)
        );
    }

    #[test]
    fn of_tensorrt_the_share_of_the_cache_is_read_and_nothing_else_of_that_name() {
        let page = "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 5000\n\
                    nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.25\n";
        let reading = read(page);
        assert_eq!(reading.kind, Some(EngineKind::Triton));
        assert_eq!(value(&reading, Signal::KvUsage), Some(0.25));
    }

    #[test]
    fn a_page_of_something_else_is_of_no_engine() {
        assert_eq!(
            read("process_cpu_seconds_total 12\nvllm:num_requests_running NaN\n"),
            Reading::default()
        );
    }
}
