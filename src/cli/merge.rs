use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::replay::{command_line, conduct};
use super::values;
use crate::campaign::Merge;

/// Make one result of the shards of one replay
///
/// Takes the directories that `reenact replay --shard I/N --out DIR` wrote on each machine, and writes what one machine would have: histograms
/// are added up, everything else is measured again from the requests of all shards. Says which shard is missing, and refuses what is not of
/// one replay.
///
/// Exit codes are those of replay.
#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// The directories of the shards' results, in any order
    #[arg(required = true, value_name = "RESULT")]
    results: Vec<PathBuf>,

    /// Write the merged result to this directory
    #[arg(short, long, required = true, value_name = "DIR")]
    out: PathBuf,

    /// Print the result document as JSON instead of the summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &MergeArgs) -> Result<Exit, Failure> {
    let shards = args.results.iter().map(PathBuf::as_path);
    values::writes_over_none(&args.out, shards, "one of the shards")?;
    let merge = Merge {
        results: args.results.clone(),
        out: args.out.clone(),
        command: Some(command_line()),
    };
    let document = merge.run().map_err(|error| {
        let hint = error.hint();
        Failure::could_not_run(error).hint(hint)
    })?;
    conduct::print(&document, args.json)?;
    Ok(conduct::exit(&document))
}
