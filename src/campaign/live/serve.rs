use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::Live;
use crate::exposition::page;

/// The page of a running campaign; gone when this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client that says nothing is let go.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

impl Live {
    /// Shows it at `/metrics` on `address`, from a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be listened on, or this machine lacks a thread.
    pub fn serve(&self, address: SocketAddr) -> io::Result<Served> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let live = self.clone();
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = accept(listener, live) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Served {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn answer(&self, request: &hyper::Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/metrics" {
            return said(
                StatusCode::NOT_FOUND,
                PLAIN,
                "the metrics are at /metrics\n",
            );
        }
        let accept = request.headers().get_all(ACCEPT).iter();
        match page(
            &self.0.registry,
            accept.filter_map(|value| value.to_str().ok()),
        ) {
            Ok((page, kind)) => said(StatusCode::OK, kind, page),
            Err(_) => said(
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                "the metrics cannot be written\n",
            ),
        }
    }
}

async fn accept(listener: TcpListener, live: Live) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors for a moment, perhaps.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let live = live.clone();
        let service = service_fn(move |request| {
            let answer = live.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .serve_connection(TokioIo::new(socket), service);
        tokio::spawn(async move {
            // A scraper that breaks off is its own affair.
            let _ = connection.await;
        });
    }
}

fn said(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";
