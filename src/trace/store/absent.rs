//! What stands in a build without the feature `stores`.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::{ObjectFacts, StoreUrl};

/// A store that this build cannot reach: every call says so.
#[derive(Debug)]
pub struct Store(());

impl Store {
    /// Whether this build can reach stores at all.
    pub const BUILT_IN: bool = false;

    /// Always an error.
    ///
    /// # Errors
    /// Always.
    pub fn connect(_url: &StoreUrl) -> io::Result<Self> {
        absent()
    }

    pub(in crate::trace) fn list(&self, _prefix: &str) -> io::Result<Vec<String>> {
        absent()
    }

    /// As [`Store::connect`].
    ///
    /// # Errors
    /// Always.
    pub fn facts(&self, _key: &str) -> io::Result<ObjectFacts> {
        absent()
    }

    /// As [`Store::connect`].
    ///
    /// # Errors
    /// Always.
    pub fn read(
        &self,
        _key: &str,
        _version: Option<&str>,
        _range: Range<u64>,
    ) -> io::Result<Vec<u8>> {
        absent()
    }

    /// As [`Store::connect`].
    ///
    /// # Errors
    /// Always.
    pub fn upload(&self, _file: File, _key: &str) -> io::Result<u64> {
        absent()
    }
}

fn absent<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this reenact was built without the feature `stores`",
    ))
}
