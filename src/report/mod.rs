//! The renderings of results.

/// A trace, for a terminal.
pub mod inspect;
