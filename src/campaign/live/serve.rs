use std::io;
use std::net::{SocketAddr, TcpListener};

use hyper::StatusCode;
use hyper::header::ACCEPT;

use super::Live;
use crate::exposition::page as exposition;
use crate::net::pages::{PLAIN, Page, Pages, page};

/// The page of a running campaign; gone when this is dropped.
#[derive(Debug)]
pub struct Served(Pages);

impl Served {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

impl Live {
    /// Shows it at `/metrics` on `address`, from a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be listened on, or this machine lacks a thread.
    pub fn serve(&self, address: SocketAddr) -> io::Result<Served> {
        let live = self.clone();
        let answer = move |request| std::future::ready(live.answer(&request));
        Pages::serve(TcpListener::bind(address)?, "metrics", answer).map(Served)
    }

    fn answer(&self, request: &hyper::Request<hyper::body::Incoming>) -> Page {
        if request.uri().path() != "/metrics" {
            return page(
                StatusCode::NOT_FOUND,
                PLAIN,
                "the metrics are at /metrics\n",
            );
        }
        let accept = request.headers().get_all(ACCEPT).iter();
        match exposition(
            &self.0.registry,
            accept.filter_map(|value| value.to_str().ok()),
        ) {
            Ok((text, kind)) => page(StatusCode::OK, kind, text),
            Err(_) => page(
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                "the metrics cannot be written\n",
            ),
        }
    }
}
