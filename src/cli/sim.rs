use std::net::TcpListener;

use super::failure::{Exit, Failure, HintExt};
use super::values;
use crate::memory::in_small_pages;
use crate::record::ListenAddr;
use crate::sim::{Config, Server};

/// Serve as a simulated inference server, for demos, tests and trying things out
///
/// Speaks OpenAI chat completions, completions and embeddings, Anthropic messages, /v1/models, /tokenize, /health, /version and /metrics under
/// vLLM's names. The engine behind it batches continuously, holds KV memory in blocks, has a prefix cache, queues and preempts; docs/simulator.md has the
/// formulas. Every response says that it is simulated.
#[derive(Debug, clap::Args)]
pub(super) struct SimArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR")]
    listen: ListenAddr,

    /// A named set of parameters: small, large, fast, tiny or null; the options below override it
    #[arg(long, default_value = "fast", value_name = "NAME")]
    profile: String,

    /// The model's name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Refuse requests for any other model instead of answering to every name
    #[arg(long)]
    strict_model: bool,

    /// What answers, lengths and jitter are drawn with
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>)]
    seed: Option<u64>,

    /// Make every step this many times as long
    #[arg(long, value_name = "FACTOR", value_parser = values::factor)]
    slowdown: Option<f64>,

    /// Microseconds that any step takes
    #[arg(long, value_name = "US")]
    step_base: Option<f64>,

    /// Microseconds that each sequence in a step adds
    #[arg(long, value_name = "US")]
    step_per_sequence: Option<f64>,

    /// Nanoseconds that each token of context adds
    #[arg(long, value_name = "NS")]
    step_per_context_token: Option<f64>,

    /// Prompt tokens computed per second; 0: prefill costs nothing
    #[arg(long, value_name = "N")]
    prefill_tokens_per_s: Option<f64>,

    /// How far a step's time may stray, as a share of it
    #[arg(long, value_name = "SHARE", value_parser = values::rate)]
    jitter: Option<f64>,

    /// Sequences that run at once
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_num_seqs: Option<u32>,

    /// Tokens that one step computes, prefill and decode together
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_num_batched_tokens: Option<u32>,

    /// Tokens of prompt and answer that one sequence may have
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_model_len: Option<u32>,

    /// Sequences that may wait; beyond them requests are rejected
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    max_waiting: Option<u32>,

    /// Status of a request that finds the queue full: 503 or 429
    #[arg(long, value_name = "STATUS", value_parser = values::whole::<u16>)]
    reject_status: Option<u16>,

    /// Tokens that the KV cache holds
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    kv_capacity_tokens: Option<u32>,

    /// Tokens in a KV block
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    block_tokens: Option<u32>,

    /// Do without the prefix cache
    #[arg(long)]
    no_prefix_cache: bool,

    /// Median answer length, where a request does not force one
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    answer_tokens_median: Option<u32>,

    /// Standard deviation of the logarithm of answer lengths
    #[arg(long, value_name = "X")]
    answer_tokens_sigma: Option<f64>,

    /// Memory of its simulated GPU, such as 80GiB, told on /metrics; used up, it answers 500 and starts anew
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    vram: Option<u64>,

    /// How much of that memory it loses every second, such as 1MiB: a leak to be found
    #[arg(long, value_name = "SIZE", value_parser = values::size, requires = "vram")]
    memory_leak: Option<u64>,

    /// Share of requests that fail with 500
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    error_rate: Option<f64>,

    /// Let answers differ from one time to the next while more than N requests are in the engine, as where results depend on the batch
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    nondeterministic_above: Option<u32>,

    /// Largest request body, such as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_body: Option<u64>,
}

pub(super) fn run(args: &SimArgs) -> Result<Exit, Failure> {
    in_small_pages();
    let config = config(args)?;
    config.validate().map_err(Failure::usage).hint(OPTIONS)?;
    let ListenAddr(addr) = args.listen;
    let listener = TcpListener::bind(addr)
        .map_err(|error| {
            Failure::could_not_run(anyhow::anyhow!("cannot listen on {addr}: {error}"))
        })
        .hint("is something else listening there? --listen 127.0.0.1:0 takes any free port")?;
    let (ended, signal) = std::sync::mpsc::channel();
    ctrlc::set_handler(move || {
        // The receiver lives as long as the server does.
        let _ = ended.send(());
    })?;
    let server = Server::start(config, listener)?;
    tracing::info!(
        profile = args.profile,
        "simulated inference server listening on http://{}",
        server.addr()
    );
    // An error means that no signal can come any more.
    let _ = signal.recv();
    server.shutdown();
    Ok(Exit::Ok)
}

fn config(args: &SimArgs) -> Result<Config, Failure> {
    let mut config = Config::profile(&args.profile)
        .map_err(Failure::usage)
        .hint(OPTIONS)?;
    set(&mut config.model, args.model.clone());
    set(&mut config.seed, args.seed);
    set(&mut config.slowdown, args.slowdown);
    set(&mut config.step_base_us, args.step_base);
    set(&mut config.step_per_sequence_us, args.step_per_sequence);
    set(
        &mut config.step_per_context_token_ns,
        args.step_per_context_token,
    );
    set(&mut config.prefill_tokens_per_s, args.prefill_tokens_per_s);
    set(&mut config.jitter, args.jitter);
    set(&mut config.max_num_seqs, args.max_num_seqs);
    set(
        &mut config.max_num_batched_tokens,
        args.max_num_batched_tokens,
    );
    set(&mut config.max_model_len, args.max_model_len);
    set(&mut config.reject_status, args.reject_status);
    set(&mut config.kv_capacity_tokens, args.kv_capacity_tokens);
    set(&mut config.block_tokens, args.block_tokens);
    set(&mut config.answer_tokens_median, args.answer_tokens_median);
    set(&mut config.answer_tokens_sigma, args.answer_tokens_sigma);
    set(&mut config.vram_bytes, args.vram);
    set(&mut config.memory_leak_bytes, args.memory_leak);
    set(&mut config.error_rate, args.error_rate);
    set(&mut config.max_body_bytes, args.max_body);
    config.nondeterministic_above = args
        .nondeterministic_above
        .or(config.nondeterministic_above);
    config.max_waiting = args.max_waiting.or(config.max_waiting);
    config.strict_model |= args.strict_model;
    config.prefix_cache &= !args.no_prefix_cache;
    Ok(config)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

const OPTIONS: &str = "`reenact sim --help` has every option and what it takes";
