use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::RecordError;
use super::lane::LaneHandle;
use super::signals::Stop;

/// Listens on an address. Without `SO_REUSEPORT`: it spreads few long connections badly, and would let a second recorder
/// take half of the traffic of a port that is already in use.
pub(super) fn bind(addr: SocketAddr) -> Result<StdTcpListener, RecordError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(StdTcpListener::from(socket))
    };
    bind().map_err(|source| RecordError::Listen { addr, source })
}

const BACKLOG: i32 = 4096;

/// Accepts clients on a thread of its own and hands each to the lane with the fewest open connections, until the drain
/// begins.
pub(super) fn start(
    listeners: Vec<StdTcpListener>,
    lanes: Vec<LaneHandle>,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("reenact-listen".to_owned())
        .spawn(move || {
            let lanes = std::sync::Arc::new(lanes);
            runtime.block_on(async {
                for listener in listeners {
                    tokio::spawn(accept(listener, std::sync::Arc::clone(&lanes)));
                }
                stop.draining().await;
            });
        })
}

async fn accept(listener: StdTcpListener, lanes: std::sync::Arc<Vec<LaneHandle>>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(kind = ?error.kind(), "a listener failed"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(client) = stream.into_std() {
                    hand_out(client, &lanes);
                }
            }
            Err(error) => {
                // Most likely out of descriptors: the backlog holds clients while others leave.
                tracing::warn!(kind = ?error.kind(), "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn hand_out(client: StdTcpStream, lanes: &[LaneHandle]) {
    if let Some(lane) = lanes.iter().min_by_key(|lane| lane.open())
        && lane.serve(client).is_err()
    {
        tracing::warn!("a client was refused: every lane has too many waiting");
    }
}
