use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place in an object store: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreUrl {
    scheme: Scheme,
    bucket: String,
    /// Without slashes at either end; empty for the whole bucket.
    key: String,
}

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scheme {
    S3,
    Gs,
    Az,
}

/// Why a text names no place in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// It begins with something else.
    #[error("not a store; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    Scheme,
    /// No bucket.
    #[error("the bucket is missing; write s3://BUCKET/PREFIX")]
    Bucket,
    /// Something that object keys do not hold.
    #[error(
        "a bucket and its keys are letters, digits and the like; no `?`, `#`, `//` or `..` in them"
    )]
    Key,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::S3, Self::Gs, Self::Az];

    const fn prefix(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Gs => "gs://",
            Self::Az => "az://",
        }
    }
}

impl StoreUrl {
    /// Whether this path is such a place rather than a file's.
    pub(in crate::trace) fn is_one(path: &Path) -> bool {
        path.to_str().is_some_and(|text| scheme_of(text).is_some())
    }

    #[cfg(feature = "stores")]
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    #[cfg(test)]
    fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, without the bucket.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The bucket alone.
    #[must_use]
    pub fn root(&self) -> Self {
        self.with_key(String::new())
    }

    /// A place below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        self.with_key(match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}/{name}"),
        })
    }

    /// Another key of the same bucket.
    #[must_use]
    pub fn with_key(&self, key: String) -> Self {
        Self {
            key,
            ..self.clone()
        }
    }

    /// The URL where a path is expected.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = scheme_of(text).ok_or(StoreUrlError::Scheme)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = key.strip_suffix('/').unwrap_or(key);
        if bucket.is_empty() {
            return Err(StoreUrlError::Bucket);
        }
        let plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.contains(['?', '#', '\\'])
                && !part.chars().any(char::is_control)
        };
        if !plain(bucket) || bucket.contains(['@', ':']) {
            return Err(StoreUrlError::Key);
        }
        if !key.is_empty() && !key.split('/').all(plain) {
            return Err(StoreUrlError::Key);
        }
        Ok(Self {
            scheme,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.prefix(), self.bucket)?;
        match self.key.as_str() {
            "" => Ok(()),
            key => write!(f, "/{key}"),
        }
    }
}

fn scheme_of(text: &str) -> Option<(Scheme, &str)> {
    let of = |scheme: Scheme| Some((scheme, text.strip_prefix(scheme.prefix())?));
    Scheme::ALL.into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_url_reads_as_it_is_shown() {
        for (text, bucket, key) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("gs://b/a/b c", "b", "a/b c"),
            ("az://b/x.rt", "b", "x.rt"),
            ("s3://b/x/", "b", "x"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.bucket(), url.key()), (bucket, key), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
        let url: StoreUrl = "s3://b".parse().unwrap();
        assert_eq!(url.join("a").join("b").to_string(), "s3://b/a/b");
        assert_eq!(url.join("a").root(), url);
    }

    #[test]
    fn what_is_no_store_is_refused_with_what_would_be_one() {
        for (text, error) in [
            ("http://b/k", StoreUrlError::Scheme),
            ("/var/lib", StoreUrlError::Scheme),
            ("s3://", StoreUrlError::Bucket),
            ("s3:///k", StoreUrlError::Bucket),
            ("s3://b//k", StoreUrlError::Key),
            ("s3://b/../k", StoreUrlError::Key),
            ("s3://key:secret@b/k", StoreUrlError::Key),
            ("s3://b/k?versionId=1", StoreUrlError::Key),
        ] {
            assert_eq!(text.parse::<StoreUrl>(), Err(error), "{text}");
        }
        assert!(StoreUrlError::Scheme.to_string().contains("s3://BUCKET"));
    }
}
