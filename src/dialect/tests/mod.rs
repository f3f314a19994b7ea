//! Tests that go through the room's front door, dialect by dialect.

mod drafts;
mod extras;
mod fixtures;
mod requests;
mod transcripts;
mod variants;
