use std::time::Duration;

use super::super::values;
use crate::record::{Keeping, StoreOptions};
use crate::trace::{Store, StoreUrl};

/// What becomes of trace files.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trace files")]
pub(super) struct KeepingArgs {
    /// Begin the next trace file at this size
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub(super) rotate_size: u64,
    /// Begin the next trace file at this age
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::duration)]
    pub(super) rotate_age: Duration,
    /// Remove the oldest trace files while all of this --name together are larger; never the one being written
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    keep_size: Option<u64>,
    /// Remove trace files last written longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    keep_age: Option<Duration>,
    /// Keep the wall-clock time of the start in the trace, so that traces of several recorders can be merged. Whoever holds
    /// access logs can then join them with the trace
    #[arg(long)]
    keep_wall_clock: bool,
    /// Carry each closed trace file on to s3://BUCKET/PREFIX, gs://… or az://…, and remove it here once it is stored.
    /// Credentials come from the environment
    #[arg(long, value_name = "URL", conflicts_with = "no_record", hide = !Store::BUILT_IN)]
    trace_store: Option<StoreUrl>,
    /// Let the local copies of stored files stay, up to --keep-size and --keep-age
    #[arg(long, requires = "trace_store", hide = !Store::BUILT_IN)]
    store_keep_local: bool,
}

impl KeepingArgs {
    pub(super) fn keeping(&self) -> Keeping {
        Keeping {
            keep_bytes: self.keep_size,
            keep_age: self.keep_age,
            wall_clock: self.keep_wall_clock,
            store: self.trace_store.clone().map(|url| StoreOptions {
                url,
                keep_local: self.store_keep_local,
            }),
        }
    }
}
