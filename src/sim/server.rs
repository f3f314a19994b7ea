//! The HTTP side: routes, limits, streams.

mod body;
mod routes;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use self::routes::serve;
use super::driver::{self, Orders};
use super::engine::Stats;
use super::memory::{InUse, Vram};
use super::metrics::Metrics;
use super::wire::Problem;
use super::{Config, SimError};
use crate::net::deepen;

/// A simulated inference server.
#[derive(Debug)]
pub struct Server;

/// A running one; stops when dropped.
pub struct ServerHandle {
    addr: SocketAddr,
    orders: Orders,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves on `listener`, on threads of its own.
    ///
    /// # Errors
    /// When a parameter makes no sense, or this machine lacks threads.
    pub fn start(config: Config, listener: TcpListener) -> Result<ServerHandle, SimError> {
        config.validate()?;
        let addr = listener.local_addr()?;
        deepen(&listener)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let metrics = Arc::new(Metrics::new(&config));
        let (orders, engine) = driver::start(config.clone(), Arc::clone(&metrics))?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            vram: Vram::new(&config),
            config,
            orders: orders.clone(),
            metrics,
            next: AtomicU64::new(0),
        });
        let http = std::thread::Builder::new()
            .name("sim-http".to_owned())
            .spawn(move || {
                runtime.block_on(accept(listener, shared, stopped));
            })?;
        Ok(ServerHandle {
            addr,
            orders,
            stop,
            threads: vec![http, engine],
        })
    }
}

impl ServerHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it did so far: the truth that measurements of it are held against.
    pub fn stats(&self) -> Stats {
        self.orders.stats()
    }

    /// Stops it and waits until it has.
    pub fn shutdown(self) {}
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.orders.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    config: Config,
    orders: Orders,
    metrics: Arc<Metrics>,
    vram: Option<Vram>,
    next: AtomicU64,
}

impl Shared {
    /// What is in use of the GPU's memory, where it has one.
    fn in_use(&self) -> Option<InUse> {
        let vram = self.vram.as_ref()?;
        Some(vram.look(&self.orders.stats()))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, say: the next one may go better.
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            _ = stopped.changed() => return,
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(serve(&shared, request).await) }
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn out_of_memory() -> Problem {
    Problem {
        status: 500,
        message: "CUDA out of memory (simulated)".to_owned(),
    }
}
