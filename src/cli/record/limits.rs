use std::time::Duration;

use super::super::values;

/// How much may be held, and how long waited for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Most memory for everything that waits to be recorded; beyond it bodies are let go, then exchanges
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub(super) capture_memory: u64,
    /// Bodies above this are forwarded as ever and recorded by their size only
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    pub(super) max_body: u64,
    /// How large a request's head may be; above it 431
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::size)]
    pub(super) max_header_size: u64,
    /// How long connecting to the upstream may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub(super) connect_timeout: Duration,
    /// How long the upstream may take to begin its answer
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    pub(super) first_byte_timeout: Duration,
    /// How long an answer may be silent between two pieces; there is no limit on its whole length
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    pub(super) idle_timeout: Duration,
    /// How long a request's head may take to arrive, from its first byte; then 408
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(super) header_timeout: Duration,
    /// How long a request's body may be silent between two pieces; then 408
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub(super) body_timeout: Duration,
    /// How long a client's connection may stay open without a request
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub(super) client_idle: Duration,
    /// How long an idle upstream connection is kept (uvicorn, and so vLLM, closes at 5s)
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = values::duration)]
    pub(super) pool_idle: Duration,
    /// How long new clients are still taken after SIGTERM, while /readyz already says no (for load balancers)
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    pub(super) drain_delay: Duration,
    /// How long exchanges in flight may take to finish after that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(super) drain_timeout: Duration,
}
