//! Pictures and clips as they go out.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::shape::MediaKind;

/// A picture or a clip to send.
#[derive(Clone, PartialEq, Eq)]
pub struct DraftMedia {
    /// Index of the message that holds it.
    pub message: usize,
    /// What it is: a picture or sound; nothing else is written.
    pub kind: MediaKind,
    /// Its file in base64: a PNG or a JPEG, or a WAV.
    pub base64: String,
}

impl fmt::Debug for DraftMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} digits", self.kind, self.base64.len())
    }
}

/// The first two bytes of a JPEG and half of the next, which begins every marker.
const JPEG: &str = "/9j/";

impl DraftMedia {
    /// Its type, as in `content-type`.
    pub(in crate::dialect) fn mime(&self) -> &'static str {
        match self.kind {
            MediaKind::Audio => "audio/wav",
            _ if self.base64.starts_with(JPEG) => "image/jpeg",
            _ => "image/png",
        }
    }

    /// The whole of it as a URL.
    pub(in crate::dialect) fn data_url(&self) -> DataUrl<'_> {
        DataUrl(self)
    }
}

/// See [`DraftMedia::data_url`]; written without a copy of its own.
pub(in crate::dialect) struct DataUrl<'a>(&'a DraftMedia);

impl fmt::Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:{};base64,{}", self.0.mime(), self.0.base64)
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
