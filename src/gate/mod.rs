//! `reenact gate`: replays on demand, for controllers that cannot wait for one: a POST starts it, polling tells its verdict.
//!
//! Each replay is a process of its own with the command line that the gate was given, so that nothing a caller sends can do more than name
//! targets, and those only where the gate allows them. One runs at a time: two would measure each other.

mod account;
mod answer;
mod book;
mod order;
mod reach;
mod running;

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

pub use reach::{Reach, ReachError};

use crate::net::pages::Pages;
use book::Book;

/// What a gate does for whoever asks.
#[derive(Debug)]
pub struct GateOptions {
    /// The arguments of `reenact replay`, without `--out`.
    pub replay: Vec<OsString>,
    /// Where targets named by callers may be. Empty: the command line names the targets, and callers name none.
    pub reach: Vec<Reach>,
    /// What a caller must bring as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Results go there, each in a directory of its own.
    pub results: PathBuf,
    /// So many are kept; the oldest are removed.
    pub keep: usize,
}

/// Why a gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Results cannot be kept.
    #[error("cannot keep results in {dir}: {source}")]
    Results {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl GateError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { .. } => {
                "--listen names a free address of this machine, or port 0 for any"
            }
            Self::Results { .. } => "--results names a directory that can be made and written to",
        }
    }
}

/// A gate at work. When it is dropped it ends the replay that runs.
#[derive(Debug)]
pub struct Gate {
    pages: Pages,
    book: Arc<Book>,
}

impl Gate {
    /// Listens on `address`, and finds what earlier gates left in the directory of results.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the directory cannot be made or read.
    pub fn start(options: GateOptions, address: SocketAddr) -> Result<Self, GateError> {
        let listen = |source| GateError::Listen { address, source };
        let dir = options.results.clone();
        let listener = TcpListener::bind(address).map_err(listen)?;
        let book = Book::open(options).map_err(|source| GateError::Results { dir, source })?;
        let book = Arc::new(book);
        let asked = Arc::clone(&book);
        let pages = Pages::serve(listener, "gate", move |request| {
            answer::answer(Arc::clone(&asked), request)
        });
        let pages = pages.map_err(listen)?;
        Ok(Self { pages, book })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.pages.address()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.book.close();
    }
}
