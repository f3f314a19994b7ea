//! The command line: one file for each subcommand, each of which turns arguments into a call into the rooms and the answer
//! into an exit code.

/// Exit codes, and errors with hints.
pub mod failure;

/// `reenact export`
pub mod export;
/// `reenact import`
pub mod import;
/// `reenact inspect`
pub mod inspect;
pub mod values;
