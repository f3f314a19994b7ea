//! Where clients connect: sockets of our own, or ones that systemd hands over.

mod address;
mod inherited;
mod tcp;
mod unix;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

pub use address::{Listen, ListenAddr, ListenPlace};
pub(in crate::record) use inherited::Inherited;
pub(in crate::record) use tcp::bind;
pub(in crate::record) use unix::SocketFile;

use crate::record::RecordError;
use crate::record::daemon::signals::Stop;
use crate::record::front::connections::{Connections, Permit, TurnedAway};
use crate::record::front::door::Door;
use crate::record::front::placement::PlacementError;
use crate::record::front::socket::RawSocket;
use crate::record::lane::LaneHandle;

/// A socket that listens.
pub(in crate::record) enum Listener {
    Tcp(std::net::TcpListener),
    /// With the file that is ours to remove, unless somebody else made it.
    Unix(std::os::unix::net::UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Where it listens, where that is an address.
    pub(in crate::record) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Where it listens, for people: `127.0.0.1:8080` or `unix:/run/reenact.sock`.
    pub(in crate::record) fn place(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix(_, Some(file)) => format!("unix:{}", file.path().display()),
            Self::Unix(listener, None) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(
                    || "unix:?".to_owned(),
                    |path| format!("unix:{}", path.display()),
                )
            }
        }
    }

    /// Has the kernel accept connections to addresses that are not this machine's (TPROXY).
    pub(in crate::record) fn accept_any_destination(&self) -> Result<(), PlacementError> {
        match self {
            Self::Tcp(listener) => tcp::accept_any_destination(listener)
                .map_err(|source| PlacementError::Tproxy { source }),
            Self::Unix(..) => Ok(()),
        }
    }
}

/// Opens what a `--listen` asks for; one listener, or all those that systemd handed over.
pub(in crate::record) fn open(
    place: &ListenPlace,
    socket_mode: u32,
    inherited: &mut Inherited,
) -> Result<Vec<Listener>, RecordError> {
    match place {
        ListenPlace::Tcp(addr) => Ok(vec![Listener::Tcp(bind(*addr)?)]),
        ListenPlace::Unix(path) => Ok(vec![unix::bind(path, socket_mode)?]),
        ListenPlace::Inherited(name) => Ok(inherited.take(name.as_deref())?),
    }
}

/// A client that was accepted and is on its way to a lane.
pub(in crate::record) struct Accepted {
    pub(in crate::record) socket: RawSocket,
    pub(in crate::record) door: Arc<Door>,
    /// There are too many clients, which is all that this one will hear.
    pub(in crate::record) one_too_many: bool,
    pub(in crate::record) permit: Permit,
}

/// Accepts clients on a thread of its own and hands each to the lane with the fewest open connections, until the drain
/// begins.
pub(in crate::record) fn start(
    listeners: Vec<(Listener, Arc<Door>)>,
    lanes: Vec<LaneHandle>,
    connections: Arc<Connections>,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let desk = Arc::new(Desk { lanes, connections });
    std::thread::Builder::new()
        .name("reenact-listen".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                for (listener, door) in listeners {
                    tokio::spawn(serve(listener, door, Arc::clone(&desk)));
                }
                stop.draining().await;
            });
        })
}

async fn serve(listener: Listener, door: Arc<Door>, desk: Arc<Desk>) {
    let listener = match Accepting::from_raw(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(kind = ?error.kind(), "a listener failed"),
    };
    loop {
        match listener.accept().await {
            Ok(socket) => desk.hand_out(socket, &door),
            Err(error) => {
                // Most likely out of descriptors: the backlog holds clients while others leave.
                tracing::warn!(kind = ?error.kind(), "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A listener that the runtime knows.
pub(in crate::record) enum Accepting {
    Tcp(TcpListener),
    /// With its file, which goes when this does: at the drain's beginning.
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
    },
}

impl Accepting {
    pub(in crate::record) fn from_raw(listener: Listener) -> std::io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener, _file) => Self::Unix {
                listener: UnixListener::from_std(listener)?,
                _file,
            },
        })
    }

    /// The next client.
    pub(in crate::record) async fn accept(&self) -> std::io::Result<RawSocket> {
        match self {
            Self::Tcp(listener) => listener.accept().await?.0.into_std().map(RawSocket::Tcp),
            Self::Unix { listener, .. } => {
                listener.accept().await?.0.into_std().map(RawSocket::Unix)
            }
        }
    }
}

/// Who hands clients out.
struct Desk {
    lanes: Vec<LaneHandle>,
    connections: Arc<Connections>,
}

impl Desk {
    fn hand_out(&self, socket: RawSocket, door: &Arc<Door>) {
        let place = self.connections.enter();
        let one_too_many = place.is_none();
        if one_too_many {
            self.connections.turn_away(TurnedAway::MaxConnections);
        }
        let Some(permit) = place.or_else(|| self.connections.farewell()) else {
            return;
        };
        let accepted = Accepted {
            socket,
            door: Arc::clone(door),
            one_too_many,
            permit,
        };
        if let Some(lane) = self.lanes.iter().min_by_key(|lane| lane.open())
            && let Err(refused) = lane.serve(accepted)
            && !refused.one_too_many
        {
            self.connections.turn_away(TurnedAway::Busy);
        }
    }
}
