//! JSON that machines read, compressed.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::directory::ReportError;

/// The bytes of a file of that name.
pub(super) fn pack(name: &'static str, document: &impl Serialize) -> Result<Vec<u8>, ReportError> {
    let unrendered = |why: String| ReportError::Render { what: name, why };
    let json = serde_json::to_vec(document).map_err(|error| unrendered(error.to_string()))?;
    zstd::encode_all(&json[..], LEVEL).map_err(|error| unrendered(error.to_string()))
}

/// What a file holds.
///
/// # Errors
/// When it cannot be read, or is not what its name says.
pub(super) fn unpack<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let file = std::fs::File::open(path).map_err(|source| ReportError::Io {
        path: path.to_owned(),
        source,
    })?;
    let foreign = |why: String| ReportError::Foreign {
        path: path.to_owned(),
        why,
    };
    let reader = zstd::Decoder::new(file).map_err(|error| foreign(error.to_string()))?;
    serde_json::from_reader(reader).map_err(|error| foreign(error.to_string()))
}

const LEVEL: i32 = 9;
