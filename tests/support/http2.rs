//! The ends of HTTP/2 connections, by hyper.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// These, one after another.
pub fn tokio_stream<T: Unpin, const N: usize>(
    items: [T; N],
) -> impl futures_core::Stream<Item = T> {
    let mut items = items.into_iter();
    Iter(std::iter::from_fn(move || items.next()))
}

struct Iter<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// One thread, on which connections are driven.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Connects to `http://HOST:PORT`.
pub async fn connect(url: &str) -> TokioIo<TcpStream> {
    let address = url.strip_prefix("http://").unwrap();
    TokioIo::new(TcpStream::connect(address).await.unwrap())
}

/// A client that knows beforehand that HTTP/2 is spoken there.
pub async fn h2_client(url: &str) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), connect(url).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}
