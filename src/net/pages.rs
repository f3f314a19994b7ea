//! A small HTTP/1.1 server for pages about ourselves: a thread of its own, no state, answers that are whole at once.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

/// What is served; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Pages {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An answer.
pub(crate) type Page = Response<Full<Bytes>>;

impl Pages {
    /// Has `answer` answer each request that comes on `listener`, from a thread called `name`.
    ///
    /// # Errors
    /// When the listener cannot be used, or this machine lacks a thread.
    pub(crate) fn serve<F, A>(listener: TcpListener, name: &str, answer: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Page> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = accept(listener, answer) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Clients at once; more of them wait.
const MOST_OPEN: usize = 64;
/// A client's connection, however busy it is.
const LONGEST: Duration = Duration::from_secs(300);
/// A client that says nothing is let go.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

async fn accept<F, A>(listener: TcpListener, answer: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Page> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let open = Arc::new(Semaphore::new(MOST_OPEN));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
            return Ok(());
        };
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors for a moment, perhaps.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .serve_connection(TokioIo::new(socket), service);
        tokio::spawn(async move {
            // A client that breaks off is its own affair, and so is one that does not read.
            let _ = tokio::time::timeout(LONGEST, connection).await;
            drop(permit);
        });
    }
}

/// A page of that kind.
pub(crate) fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Text for people.
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";
