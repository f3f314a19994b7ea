//! The numbers: from outcomes and traces to statistics. No I/O.

/// What is in a trace.
pub mod traffic;
