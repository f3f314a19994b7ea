//! Options that say what of a trace is sent, and when.

use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::values;
use crate::replay::PlanOptions;

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// How many times as fast arrivals come: 2 is twice as fast, 0.5 half as fast
    #[arg(long, default_value = "1", value_name = "X", value_parser = values::factor)]
    speed: f64,

    /// Leave out what arrived before this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    from: Option<Duration>,

    /// Leave out what arrived at or after this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    to: Option<Duration>,

    /// Send at most this many requests
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl PlanArgs {
    pub(super) fn options(&self) -> Result<PlanOptions, Failure> {
        values::span(self.from, self.to)?;
        Ok(PlanOptions {
            speed: self.speed,
            from_us: self.from.map(micros),
            to_us: self.to.map(micros),
            limit: self.limit,
            ..PlanOptions::default()
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
