//! JSON that machines read, compressed: what there is of each run, under the schema that it is written by.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::directory::ReportError;

#[derive(Serialize, Deserialize)]
struct Document<R> {
    schema: String,
    runs: R,
}

/// What another document shares with ours.
#[derive(Deserialize)]
struct Any {
    schema: String,
}

/// The bytes of a file of that name.
pub(super) fn pack(
    name: &'static str,
    schema: &str,
    runs: &impl Serialize,
) -> Result<Vec<u8>, ReportError> {
    let schema = schema.to_owned();
    let unrendered = |why: String| ReportError::Render { what: name, why };
    let json = serde_json::to_vec(&Document { schema, runs })
        .map_err(|error| unrendered(error.to_string()))?;
    zstd::encode_all(&json[..], LEVEL).map_err(|error| unrendered(error.to_string()))
}

/// What a file has of each run.
///
/// # Errors
/// When it cannot be read, or is not what its name says.
pub(super) fn unpack<R: DeserializeOwned>(path: &Path, schema: &str) -> Result<R, ReportError> {
    // First, since another version's may lack what this one's has.
    let any: Any = read(path)?;
    if any.schema != schema {
        return Err(ReportError::Foreign {
            path: path.to_owned(),
            why: format!(
                "its schema is {:?} and not {schema:?}, so another version of reenact wrote it",
                any.schema
            ),
        });
    }
    read::<Document<R>>(path).map(|document| document.runs)
}

/// The same; `None` where there is no such file.
///
/// # Errors
/// As [`unpack`].
pub(super) fn unpack_if_there<R: DeserializeOwned>(
    path: &Path,
    schema: &str,
) -> Result<Option<R>, ReportError> {
    match unpack(path, schema) {
        Err(ReportError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Reads it piece by piece, so that no more is held than what is kept of it.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let file = std::fs::File::open(path).map_err(|source| ReportError::Io {
        path: path.to_owned(),
        source,
    })?;
    let foreign = |why: String| ReportError::Foreign {
        path: path.to_owned(),
        why,
    };
    let reader = zstd::Decoder::new(file).map_err(|error| foreign(error.to_string()))?;
    serde_json::from_reader(std::io::BufReader::new(reader))
        .map_err(|error| foreign(error.to_string()))
}

const LEVEL: i32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_version_is_told_from_one_that_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
        let why = || unpack::<Vec<u8>>(&path, "of/2").unwrap_err().to_string();
        write(&pack("runs", "of/2", &[1, 2]).unwrap());
        assert_eq!(unpack::<Vec<u8>>(&path, "of/2").unwrap(), [1, 2]);
        write(&pack("runs", "of/1", &["other"]).unwrap());
        assert!(why().contains("\"of/1\" and not \"of/2\", so another version"));
        write(&pack("runs", "of/2", &["other"]).unwrap());
        assert!(why().contains("invalid type"));
        write(b"no zstd");
        assert!(why().contains("cannot be read"));
    }
}
