use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::record::front::arrival::{Arrival, canonical};
use crate::record::front::client_io::{ClientIo, Wire};
use crate::record::front::connections::TurnedAway;
use crate::record::front::door::{Door, LeadsTo};
use crate::record::front::proxy_protocol::{self, ProxyHeader};
use crate::record::front::socket::{RawSocket, Socket};

/// Gets a client from its socket to where HTTP begins: the redirect's destination, the PROXY header, the TLS handshake.
/// It runs in the client's own task, so that a slow handshake keeps nobody waiting, and ends at `patience`.
pub(in crate::record) async fn admit(
    socket: RawSocket,
    door: &Door,
    patience: Duration,
) -> Result<(ClientIo, Arrival), TurnedAway> {
    let socket = Socket::from_raw(socket).map_err(|_| TurnedAway::Broken)?;
    let ends = socket
        .ends()
        .map(|(ours, theirs)| (canonical(ours), canonical(theirs)));
    let mut arrival = Arrival {
        peer: ends.map(|(_, peer)| peer),
        client: ends.map(|(_, peer)| peer),
        destination: ends.map(|(local, _)| local),
        ..Arrival::default()
    };
    if let LeadsTo::Original(original) = &door.leads_to {
        let destination = original.how.destination(&socket);
        let destination = destination.ok_or(TurnedAway::NotRedirected)?;
        if original.guard.is_own(destination) {
            return Err(TurnedAway::Loop);
        }
        arrival.destination = Some(destination);
    }
    let shaken = shake_hands(socket, door, &mut arrival);
    match door.proxy_in || door.tls.is_some() {
        // The common case has nothing to wait for, and needs no timer.
        false => shaken.await.map(|io| (io, arrival)),
        true => match tokio::time::timeout(patience, shaken).await {
            Ok(shaken) => shaken.map(|io| (io, arrival)),
            Err(_) => Err(TurnedAway::Slow),
        },
    }
}

async fn shake_hands(
    mut socket: Socket,
    door: &Door,
    arrival: &mut Arrival,
) -> Result<ClientIo, TurnedAway> {
    if door.proxy_in {
        let header = proxy_protocol::read(&mut socket).await;
        match header.map_err(|_| TurnedAway::ProxyProtocol)? {
            ProxyHeader::Own => {}
            ProxyHeader::Proxied {
                client,
                destination,
            } => {
                arrival.client = Some(canonical(client));
                // Whoever is redirected goes where the kernel says, not where a header says.
                if matches!(door.leads_to, LeadsTo::Upstream(..)) {
                    arrival.destination = Some(canonical(destination));
                }
            }
        }
    }
    match &door.tls {
        None => Ok(Wire::Plain(socket)),
        Some(tls) => encrypt(socket, tls.current(), arrival).await,
    }
}

async fn encrypt(
    socket: Socket,
    config: Arc<ServerConfig>,
    arrival: &mut Arrival,
) -> Result<ClientIo, TurnedAway> {
    let stream = TlsAcceptor::from(config)
        .accept(socket)
        .await
        .map_err(|_| TurnedAway::Tls)?;
    arrival.tls = true;
    arrival.server_name = stream.get_ref().1.server_name().map(Into::into);
    Ok(Wire::Tls(Box::new(stream.into())))
}
