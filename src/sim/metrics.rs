//! `/metrics`, under vLLM's names, so that whatever reads those reads a simulated server, too.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use std::sync::atomic::{AtomicU64, Ordering};

use super::Config;
use super::engine::{Event, Stats};
use super::memory::Vram;

/// All metrics of one server.
pub(super) struct Metrics {
    registry: Registry,
    running: Gauge,
    waiting: Gauge,
    kv_usage: Gauge<f64, AtomicU64>,
    preemptions: Counter,
    prefix_queries: Counter,
    prefix_hits: Counter,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    success: Family<[(&'static str, &'static str); 1], Counter>,
    ttft: Histogram,
    itl: Histogram,
    e2e: Histogram,
    queue: Histogram,
    vram: Memory,
}

/// Gauges of the simulated GPU, and of the process that is simulated to use it.
#[derive(Default)]
struct Memory {
    total: Gauge<f64, AtomicU64>,
    used: Gauge<f64, AtomicU64>,
    reserved: Gauge<f64, AtomicU64>,
    allocated: Gauge<f64, AtomicU64>,
    started: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(super) fn new(config: &Config) -> Self {
        let labels = [
            ("model_name".into(), config.model.clone().into()),
            ("engine".into(), "0".into()),
        ];
        let mut root = Registry::default();
        let info = Info::new(vec![
            ("simulated", "true"),
            ("version", env!("CARGO_PKG_VERSION")),
        ]);
        root.register(
            "reenact_sim",
            "This server is simulated; none of its figures are real",
            info,
        );
        let registry = root.sub_registry_with_labels(labels.into_iter());
        let metrics = Self {
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_usage: Gauge::default(),
            preemptions: Counter::default(),
            prefix_queries: Counter::default(),
            prefix_hits: Counter::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            success: Family::default(),
            ttft: Histogram::new(SECONDS),
            itl: Histogram::new(SECONDS),
            e2e: Histogram::new(SECONDS),
            queue: Histogram::new(SECONDS),
            vram: Memory::default(),
            registry: Registry::default(),
        };
        let cache = Info::new(vec![
            ("block_size", config.block_tokens.to_string()),
            ("num_gpu_blocks", config.kv_blocks().to_string()),
        ]);
        registry.register("vllm:cache_config", "How the KV cache is cut", cache);
        registry.register(
            "vllm:num_requests_running",
            "Sequences in the batch",
            metrics.running.clone(),
        );
        registry.register(
            "vllm:num_requests_waiting",
            "Sequences that wait",
            metrics.waiting.clone(),
        );
        registry.register(
            "vllm:kv_cache_usage_perc",
            "Share of the KV cache in use",
            metrics.kv_usage.clone(),
        );
        registry.register(
            "vllm:num_preemptions",
            "Sequences thrown out of the batch",
            metrics.preemptions.clone(),
        );
        registry.register(
            "vllm:prefix_cache_queries",
            "Prompt tokens looked up in the prefix cache",
            metrics.prefix_queries.clone(),
        );
        registry.register(
            "vllm:prefix_cache_hits",
            "Prompt tokens found there",
            metrics.prefix_hits.clone(),
        );
        registry.register(
            "vllm:prompt_tokens",
            "Prompt tokens of admitted requests",
            metrics.prompt_tokens.clone(),
        );
        registry.register(
            "vllm:generation_tokens",
            "Tokens generated",
            metrics.generation_tokens.clone(),
        );
        registry.register(
            "vllm:request_success",
            "Requests that are over, by how",
            metrics.success.clone(),
        );
        registry.register(
            "vllm:time_to_first_token_seconds",
            "Time to the first token",
            metrics.ttft.clone(),
        );
        registry.register(
            "vllm:inter_token_latency_seconds",
            "Gaps between tokens",
            metrics.itl.clone(),
        );
        registry.register(
            "vllm:e2e_request_latency_seconds",
            "Arrival to last token",
            metrics.e2e.clone(),
        );
        registry.register(
            "vllm:request_queue_time_seconds",
            "Arrival to admission",
            metrics.queue.clone(),
        );
        if config.vram_bytes > 0 {
            metrics.vram.register(&mut root);
        }
        Self {
            registry: root,
            ..metrics
        }
    }

    /// Counts one event into the histograms.
    pub(super) fn note(&self, event: &Event) {
        match *event {
            Event::Admitted { queued_us, .. } => self.queue.observe(seconds(queued_us)),
            Event::Token {
                ordinal: 0,
                after_us,
                ..
            } => self.ttft.observe(seconds(after_us)),
            Event::Token { after_us, .. } => self.itl.observe(seconds(after_us)),
            Event::Done { e2e_us, .. } => self.e2e.observe(seconds(e2e_us)),
        }
    }

    /// The text format, with gauges and counters as of `stats`.
    pub(super) fn text(&self, stats: &Stats, vram: Option<&Vram>) -> String {
        if let Some(vram) = vram {
            let in_use = vram.look(stats);
            self.vram.total.set(vram.total());
            self.vram.used.set(in_use.reserved);
            self.vram.reserved.set(in_use.reserved);
            self.vram.allocated.set(in_use.allocated);
            self.vram.started.set(in_use.started_s);
        }
        self.running.set(i64::from(stats.running));
        self.waiting.set(i64::from(stats.waiting));
        self.kv_usage.set(stats.kv_usage());
        for (counter, total) in [
            (&self.preemptions, stats.preemptions),
            (&self.prefix_queries, stats.prefix_queries),
            (&self.prefix_hits, stats.prefix_hits),
            (&self.prompt_tokens, stats.prompt_tokens),
            (&self.generation_tokens, stats.generation_tokens),
        ] {
            counter.inner().store(total, Ordering::Relaxed);
        }
        for (reason, total) in [
            ("stop", stats.completed - stats.completed_by_length),
            ("length", stats.completed_by_length),
            ("abort", stats.aborted),
        ] {
            let counter = self.success.get_or_create(&[("finished_reason", reason)]);
            counter.inner().store(total, Ordering::Relaxed);
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Memory {
    fn register(&self, registry: &mut Registry) {
        let mut put = |name: &str, help: &str, gauge: &Gauge<f64, AtomicU64>| {
            registry.register(name, help, gauge.clone());
        };
        put(
            "reenact_sim_gpu_memory_total_bytes",
            "Memory of the simulated GPU",
            &self.total,
        );
        put(
            "reenact_sim_gpu_memory_used_bytes",
            "Of it, in use",
            &self.used,
        );
        put(
            "torch_cuda_memory_reserved_bytes",
            "Held by the simulated allocator",
            &self.reserved,
        );
        put(
            "torch_cuda_memory_allocated_bytes",
            "Of that, with something in it",
            &self.allocated,
        );
        put(
            "process_start_time_seconds",
            "When the simulated engine was started",
            &self.started,
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// vLLM's buckets of inter-token latency and time to first token together.
const SECONDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
];
