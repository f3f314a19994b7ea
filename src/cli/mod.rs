//! The command line: one file for each subcommand, each of which turns arguments into a call into the rooms and the answer
//! into an exit code.

pub mod failure;
pub mod values;
