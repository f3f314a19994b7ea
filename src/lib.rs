//! `reenact` records the shape and timing of live inference traffic, never its content, and re-enacts it against candidates.
//!
//! The rooms stand in the order in which data passes through them; a room imports only rooms above it.

pub mod shape;

pub mod anonymise;

pub mod dialect;

pub mod trace;

pub mod record;

pub mod replay;

pub mod cli;
