//! The connection to one bucket, on a thread of its own: callers wait for answers, and may do so inside an async runtime.

use std::fmt;
use std::future::Future;
use std::io::{self, Read};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};

use super::url::Scheme;
use super::{ObjectFacts, StoreUrl};

/// A connection to a bucket. Credentials and endpoints come from the environment, by the names that each cloud's own tools
/// use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

type Bucket = Arc<dyn ObjectStore>;
type Job = Box<dyn FnOnce(Bucket) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// A part of an upload: all that is held of a file. Stores want at least 5 MiB, and at most 10,000 parts.
const PART_BYTES: u64 = 8 << 20;

impl Store {
    /// Whether this build can reach stores at all.
    pub const BUILT_IN: bool = true;

    /// Prepares the connection to a URL's bucket. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// When the environment does not say what is needed, or a thread cannot be started.
    pub fn connect(url: &StoreUrl) -> io::Result<Self> {
        let bucket = bucket(url).map_err(|error| told(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (jobs, waiting) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("reenact-store".to_owned())
            .spawn(move || {
                while let Ok(job) = waiting.recv() {
                    runtime.block_on(job(Arc::clone(&bucket)));
                }
            })?;
        Ok(Self { jobs })
    }

    /// The keys directly below a prefix.
    pub(in crate::trace) fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        let prefix = (!prefix.is_empty()).then(|| prefix.to_owned());
        self.ask(move |bucket| async move {
            let prefix = prefix.map(key).transpose()?;
            let listed = bucket.list_with_delimiter(prefix.as_ref()).await?;
            let keys = listed.objects.into_iter();
            Ok(keys.map(|object| object.location.to_string()).collect())
        })
    }

    /// What the store says of an object.
    ///
    /// # Errors
    /// When there is none ([`io::ErrorKind::NotFound`]), or the store does not say.
    pub fn facts(&self, of: &str) -> io::Result<ObjectFacts> {
        let of = of.to_owned();
        self.ask(|bucket| async move {
            let meta = bucket.head(&key(of)?).await?;
            Ok(ObjectFacts {
                bytes: meta.size,
                version: meta.e_tag,
            })
        })
    }

    /// Bytes of an object; an error where it is no longer of this version.
    ///
    /// # Errors
    /// When there are none, or the store does not give them.
    pub fn read(&self, of: &str, version: Option<&str>, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (of, if_match) = (of.to_owned(), version.map(str::to_owned));
        self.ask(|bucket| async move {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range)),
                if_match,
                ..GetOptions::default()
            };
            let bytes = bucket.get_opts(&key(of)?, options).await?.bytes().await?;
            Ok(bytes.to_vec())
        })
    }

    /// Whether a file of this size can be put on the condition that no object is there. Larger ones go in parts, and what is there
    /// when the last part arrives is replaced: they need a key that nobody else uses.
    pub fn is_conditional(bytes: u64) -> bool {
        bytes < PART_BYTES
    }

    /// Puts a file, from where it is read on, where no object is yet, whole or not at all: in one piece or in parts, which are taken back when one
    /// fails. Gives its length.
    ///
    /// # Errors
    /// When the file cannot be read, there is an object ([`io::ErrorKind::AlreadyExists`]), or the store does not take it.
    pub fn upload(&self, mut file: std::fs::File, to: &str) -> io::Result<u64> {
        let to = to.to_owned();
        self.ask(|bucket| async move {
            let to = key(to)?;
            let first = part(&mut file)?;
            let len = first.len() as u64;
            if Self::is_conditional(len) {
                let created = bucket.put_opts(&to, first.into(), PutMode::Create.into());
                created.await?;
                return Ok(len);
            }
            // Parts have no such condition of their own.
            match bucket.head(&to).await {
                Err(Error::NotFound { .. }) => {}
                Ok(_) => return Err(io::Error::from(io::ErrorKind::AlreadyExists).into()),
                Err(error) => return Err(error.into()),
            }
            let mut upload = bucket.put_multipart(&to).await?;
            match in_parts(&mut *upload, first, &mut file).await {
                Ok(len) => Ok(len),
                Err(error) => {
                    // Left behind they would cost money, unseen. Where this fails too, a lifecycle rule of the bucket must clean up.
                    let _ = tokio::time::timeout(ABORT_PATIENCE, upload.abort()).await;
                    Err(error)
                }
            }
        })
    }

    /// Does it on the store's thread and waits.
    fn ask<T, F>(&self, work: impl FnOnce(Bucket) -> F + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + 'static,
    {
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |bucket| {
            let work = work(bucket);
            Box::pin(async move {
                // Whoever asked waits below.
                let _ = answer.send(work.await);
            })
        });
        let gone = |_| io::Error::other("the thread of the store has ended");
        self.jobs
            .send(job)
            .map_err(|_| io::Error::other("the thread of the store has ended"))?;
        answered
            .recv()
            .map_err(gone)?
            .map_err(|trouble| match trouble {
                Trouble::Local(error) => error,
                Trouble::Store(error) => told(&error),
            })
    }
}

const ABORT_PATIENCE: Duration = Duration::from_secs(10);

/// What a job may meet.
enum Trouble {
    Local(io::Error),
    Store(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

async fn in_parts(
    upload: &mut dyn object_store::MultipartUpload,
    first: Vec<u8>,
    file: &mut std::fs::File,
) -> Result<u64, Trouble> {
    let mut len = 0;
    let mut next = first;
    while !next.is_empty() {
        len += next.len() as u64;
        upload.put_part(PutPayload::from(next)).await?;
        next = part(file)?;
    }
    upload.complete().await?;
    Ok(len)
}

fn part(file: &mut std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(PART_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn key(text: String) -> Result<object_store::path::Path, Trouble> {
    object_store::path::Path::parse(text).map_err(|error| io::Error::other(error).into())
}

fn bucket(url: &StoreUrl) -> Result<Bucket, Error> {
    let root = url.root().to_string();
    Ok(match url.scheme() {
        Scheme::S3 => Arc::new(
            AmazonS3Builder::from_env()
                .with_url(root)
                .with_retry(patience())
                .build()?,
        ),
        Scheme::Gs => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(root)
                .with_retry(patience())
                .build()?,
        ),
        Scheme::Az => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_url(root)
                .with_retry(patience())
                .build()?,
        ),
    })
}

/// A moment's trouble is overcome unseen; what lasts is the caller's to know of.
fn patience() -> RetryConfig {
    RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

/// The store's error in one line, with the kind that callers go by.
fn told(error: &Error) -> io::Error {
    use io::ErrorKind as Kind;
    let (kind, text) = match error {
        Error::NotFound { .. } => (Kind::NotFound, "there is no such object".to_owned()),
        Error::AlreadyExists { .. } => (
            Kind::AlreadyExists,
            "there is an object of that name already".to_owned(),
        ),
        Error::Precondition { .. } => (
            Kind::Other,
            "the object was replaced while it was read".to_owned(),
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (
            Kind::PermissionDenied,
            "the store refuses access".to_owned(),
        ),
        Error::Generic { source, .. } => (Kind::Other, first_line(&source.to_string())),
        other => (Kind::Other, first_line(&other.to_string())),
    };
    io::Error::new(kind, text)
}

/// Stores answer in XML over many lines.
fn first_line(text: &str) -> String {
    const MOST: usize = 300;
    text.lines()
        .next()
        .unwrap_or("")
        .chars()
        .take(MOST)
        .collect()
}
