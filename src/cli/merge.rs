use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::replay::{command_line, conduct};
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
    if let Ok(out) = args.out.canonicalize() {
        let here = |result: &PathBuf| result.canonicalize().is_ok_and(|it| it == out);
        if args.results.iter().any(here) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--out {} is where one of the shards lies, which would be written over",
                args.out.display()
            ))
            .hint("give --out a directory of its own"));
        }
    }
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
