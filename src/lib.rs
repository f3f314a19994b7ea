//! `reenact` records the shape and timing of live inference traffic, never its content, and re-enacts it against candidates.
//!
//! The rooms stand in the order in which data passes through them; a room imports only rooms above it.

#![cfg_attr(
    test,
    allow(clippy::cast_possible_truncation, reason = "test values are small")
)]

/// What the benches share with the tests is written against the library's own name.
#[cfg(test)]
extern crate self as reenact;

mod wording;

mod pieced;

pub mod shape;

pub mod anonymise;

pub mod dialect;

mod directory;

pub mod trace;

pub mod interop;

mod net;

mod memory;

mod exposition;

mod tether;

pub mod record;

pub mod replay;

pub mod telemetry;

pub mod measure;

pub mod probe;

pub mod verdict;

pub mod report;

pub mod outward;

pub mod campaign;

pub mod gate;

pub mod sim;

pub mod cli;

#[cfg(fuzzing)]
pub mod fuzzing;
