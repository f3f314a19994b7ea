use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::record::front::arrival::Arrival;
use crate::record::front::connections::TurnedAway;
use crate::record::front::forwarded::{Forwarded, Stamp};
use crate::record::front::tls::Reloading;
use crate::record::front::transparent::{LoopGuard, Transparent};
use crate::record::upstream::connect::{Connecting, Upstream, UpstreamTls};

/// What a listener does with its clients.
pub(in crate::record) struct Door {
    pub(in crate::record) leads_to: LeadsTo,
    /// Present where TLS ends here.
    pub(in crate::record) tls: Option<Arc<Reloading<ServerConfig>>>,
    /// A client's connection must begin with a PROXY header.
    pub(in crate::record) proxy_in: bool,
    pub(in crate::record) forwarded: Forwarded,
}

/// Where a listener's clients are led.
pub(in crate::record) enum LeadsTo {
    /// All of them to one upstream, of this number among the upstreams.
    Upstream(u16, Arc<Upstream>),
    /// Each where it wanted to go.
    Original(Original),
}

/// What leads redirected clients to their destination.
pub(in crate::record) struct Original {
    pub(in crate::record) how: Transparent,
    pub(in crate::record) guard: Arc<LoopGuard>,
    pub(in crate::record) connecting: Connecting,
    /// For clients that came over TLS: what they wanted to reach speaks it too.
    pub(in crate::record) tls: Option<Arc<Reloading<ClientConfig>>>,
    /// Whom a server's certificate must be for, in the place of the name that the client asked for.
    pub(in crate::record) server_name: Option<ServerName<'static>>,
}

/// Where one client's requests go, and what is added to them.
pub(in crate::record) struct Route {
    pub(in crate::record) upstream: Arc<Upstream>,
    pub(in crate::record) arrival: Arrival,
    /// Present where forwarded headers are asked for.
    pub(in crate::record) stamp: Option<Stamp>,
    /// Which idle connections its requests may use.
    pub(in crate::record) pool: PoolKey,
}

/// Whom idle upstream connections may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::record) enum PoolKey {
    /// Every client of that upstream.
    Upstream(u16),
    /// Every client that wanted to go there.
    Destination(SocketAddr),
    /// One client of this lane only, since the connection tells of it.
    Client(u64),
}

impl Door {
    /// The way of a client that came in here.
    pub(in crate::record) fn route(
        &self,
        arrival: Arrival,
        clients: &Cell<u64>,
    ) -> Result<Route, TurnedAway> {
        let number = clients.get();
        clients.set(number + 1);
        let (upstream, shared) = match &self.leads_to {
            LeadsTo::Upstream(number, upstream) => {
                (Arc::clone(upstream), PoolKey::Upstream(*number))
            }
            LeadsTo::Original(original) => {
                let destination = arrival.destination.ok_or(TurnedAway::NotRedirected)?;
                let upstream = original.upstream(destination, &arrival)?;
                // Over TLS, connections to one address can be to different names.
                let pool = match arrival.tls {
                    true => PoolKey::Client(number),
                    false => PoolKey::Destination(destination),
                };
                (Arc::new(upstream), pool)
            }
        };
        Ok(Route {
            pool: match upstream.is_personal() {
                true => PoolKey::Client(number),
                false => shared,
            },
            upstream,
            stamp: Stamp::new(self.forwarded, &arrival),
            arrival,
        })
    }
}

impl Original {
    fn upstream(&self, to: SocketAddr, arrival: &Arrival) -> Result<Upstream, TurnedAway> {
        let tls = match (&self.tls, arrival.tls) {
            (Some(config), true) => Some(UpstreamTls {
                config: Arc::clone(config),
                name: self.server_name(to, arrival),
            }),
            _ => None,
        };
        Upstream::original(to, &self.guard, tls, self.connecting).ok_or(TurnedAway::Broken)
    }

    fn server_name(&self, to: SocketAddr, arrival: &Arrival) -> ServerName<'static> {
        let asked = arrival.server_name.as_deref();
        let asked = asked.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let told = self.server_name.clone().or(asked);
        told.unwrap_or_else(|| ServerName::IpAddress(to.ip().into()))
    }
}
