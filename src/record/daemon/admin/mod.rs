//! The admin endpoint: metrics, health and a few switches, on a listener and a thread of its own.
//!
//! `/healthz` and `/readyz` say yes or no and are open to whoever can connect (a kubelet sends no token). All else asks for the
//! token where there is one, and there must be one wherever the endpoint can be reached from another machine.

mod address;
mod log_levels;
mod respond;
mod status;
mod token;

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::runtime::LocalOptions;
use tokio::sync::Semaphore;

use crate::record::daemon::pause::Pause;
use crate::record::daemon::pulse::Pulses;
use crate::record::daemon::signals::Stop;
use crate::record::front::listen::{Accepting, Listener};
use crate::record::front::socket::Socket;
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::record::tape::current_file::CurrentFile;
pub use address::AdminAddr;
pub use log_levels::LogLevels;
pub use token::{Token, TokenError};

/// Where the admin endpoint is and who may use it.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// Where it listens.
    pub addr: AdminAddr,
    /// What its users must carry.
    pub token: Option<Token>,
    /// The process's log filter, where it may be changed.
    pub log_levels: Option<LogLevels>,
}

/// What the endpoint shows and switches.
pub(in crate::record) struct Admin {
    pub(in crate::record) registry: Registry,
    pub(in crate::record) accounts: Arc<Accounts>,
    pub(in crate::record) capture: Option<Arc<Capture>>,
    pub(in crate::record) pause: Arc<Pause>,
    pub(in crate::record) pulses: Arc<Pulses>,
    pub(in crate::record) file: CurrentFile,
    pub(in crate::record) started: Instant,
    pub(in crate::record) stop: Stop,
    pub(in crate::record) token: Option<Token>,
    pub(in crate::record) log_levels: Option<LogLevels>,
}

/// Serves it until the recorder has drained.
pub(in crate::record) fn start(
    listener: Listener,
    admin: Admin,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
    };
    // Made here once so that a failure is an error of the start; the runtime itself must be born on its thread.
    drop(runtime()?);
    std::thread::Builder::new()
        .name("reenact-admin".to_owned())
        .spawn(move || {
            let ended = admin.stop.clone();
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    return tracing::error!(kind = ?error.kind(), "the admin endpoint could not start");
                }
            };
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, Arc::new(admin)) => {}
                    () = ended.ended() => {}
                }
            });
        })
}

/// More are made to wait: nobody may hold up the recorder by opening connections here.
const CONNECTIONS: usize = 64;
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

async fn accept(listener: Listener, admin: Arc<Admin>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let listening = match Accepting::from_raw(listener) {
        Ok(listening) => listening,
        Err(error) => return tracing::error!(kind = ?error.kind(), "the admin listener failed"),
    };
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listening.accept().await.and_then(Socket::from_raw) {
            Ok(socket) => {
                let admin = Arc::clone(&admin);
                tokio::task::spawn_local(async move {
                    serve(socket, admin).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(socket: Socket, admin: Arc<Admin>) {
    let service = service_fn(|request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(respond::respond(request, &admin).await) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}
