//! Where a trace's bytes lie: a local file, or an object in a store (`s3://`, `gs://`, `az://`).
//!
//! A [`StoreUrl`] is what was typed. Reading goes through [`Place`] and [`Bytes`], which read at an offset wherever the bytes
//! are: of an object by ranges, a window at a time, so that a seek in a large one costs what it reads and nothing lies on a
//! local disk. A [`Store`] is the connection; files are carried to it by [`Store::upload`], whole or not at all.

mod bytes;
#[cfg(feature = "stores")]
mod client;
#[cfg(not(feature = "stores"))]
#[path = "absent.rs"]
mod client;
mod url;

pub(super) use bytes::{Bytes, Place, Places, has_traces_name};
pub use client::Store;
pub use url::{StoreUrl, StoreUrlError};

/// What a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its length.
    pub bytes: u64,
    /// What changes when it does, where the store tells.
    pub version: Option<String>,
}
