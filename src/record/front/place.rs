use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::record::RecordError;
use crate::record::front::client_io::Protocol;
use crate::record::front::door::{Door, LeadsTo, Original};
use crate::record::front::listen::{self, Inherited, Listen, Listener};
use crate::record::front::placement::PlacementError;
use crate::record::front::tls::{self, Reload, Reloading};
use crate::record::front::transparent::LoopGuard;
use crate::record::options::Options;
use crate::record::upstream::connect::{Connecting, Upstream, UpstreamTls};
use crate::record::upstream::url::{NamedUpstream, Place as Reached};

/// What clients are offered over TLS, the preferred one first.
const TO_CLIENTS: &[Protocol] = &[Protocol::Http2, Protocol::Http1];

/// Where the recorder will sit: everything that can be wrong with it has been looked at, and nothing has been opened.
pub(in crate::record) struct Place<'a> {
    options: &'a Options,
    listen_tls: Option<Arc<Reloading<ServerConfig>>>,
    upstream_tls: Option<Arc<Reloading<ClientConfig>>>,
    server_name: Option<ServerName<'static>>,
    upstreams: Vec<Arc<Upstream>>,
    /// For each listener, the number of its upstream; of no meaning where clients are redirected.
    leads_to: Vec<usize>,
}

/// Where the recorder sits.
pub(in crate::record) struct Taken {
    pub(in crate::record) listeners: Vec<(Listener, Arc<Door>)>,
    /// What is read again when its files change.
    pub(in crate::record) reloading: Vec<Arc<dyn Reload>>,
    /// For each listener, where it leads, for people.
    upstreams: Vec<String>,
}

/// A listener, for people.
pub(in crate::record) struct Line<'a> {
    /// `http://127.0.0.1:8080`, `https://…` or `unix:PATH`.
    pub(in crate::record) listener: String,
    /// Where it leads.
    pub(in crate::record) upstream: &'a str,
}

impl<'a> Place<'a> {
    /// Looks at everything that a placement is made of, certificates included.
    pub(in crate::record) fn of(options: &'a Options) -> Result<Self, RecordError> {
        let placement = &options.placement;
        check(options)?;
        let listen_tls = placement.listen_tls.clone().map(|tls| {
            let load = {
                let tls = tls.clone();
                move || tls::server_config(&tls, TO_CLIENTS)
            };
            Reloading::new(
                "the certificates for clients",
                tls::server_files(&tls),
                load,
            )
        });
        let transparent = placement.transparent.is_some();
        let speaks_tls = options
            .upstreams
            .iter()
            .any(|upstream| upstream.url.is_tls())
            || (transparent && options.listen.iter().any(|listen| is_tls(options, listen)));
        let upstream_tls = speaks_tls.then(|| {
            let tls = placement.upstream_tls.clone();
            let files = tls::client_files(&tls);
            let load = move || tls::client_config(&tls);
            Reloading::new("the certificates for upstreams", files, load)
        });
        let server_name = placement.upstream_tls.server_name.clone();
        let mut place = Self {
            options,
            listen_tls: listen_tls.transpose()?,
            upstream_tls: upstream_tls.transpose()?,
            server_name: server_name.map(self::server_name).transpose()?,
            upstreams: Vec::new(),
            leads_to: Vec::new(),
        };
        for upstream in &options.upstreams {
            place.upstreams.push(Arc::new(place.upstream(upstream)?));
        }
        if !transparent {
            for listen in &options.listen {
                place.leads_to.push(leads_to(listen, &options.upstreams)?);
            }
        }
        Ok(place)
    }

    /// The upstreams, in the order of their options.
    pub(in crate::record) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Opens the listeners.
    pub(in crate::record) fn take(self) -> Result<Taken, RecordError> {
        let options = self.options;
        let asks = |listen: &Listen| matches!(listen.place, listen::ListenPlace::Inherited(_));
        let mut inherited = match options.listen.iter().any(asks) {
            true => Inherited::from_environment(),
            false => Inherited::none(),
        };
        let mut listeners = Vec::new();
        for (number, listen) in options.listen.iter().enumerate() {
            let mode = options.placement.socket_mode;
            for listener in listen::open(&listen.place, mode, &mut inherited)? {
                self.make_transparent(&listener)?;
                listeners.push((number, listener));
            }
        }
        for name in inherited.left() {
            tracing::warn!(name, "systemd handed over a socket that no --listen takes");
        }
        let own = listeners
            .iter()
            .filter_map(|(_, listener)| listener.address())
            .collect();
        let guard = LoopGuard::new(own);
        let upstreams = listeners.iter().map(|(number, _)| self.leads_to(*number));
        Ok(Taken {
            upstreams: upstreams.collect(),
            listeners: listeners
                .into_iter()
                .map(|(number, listener)| (listener, Arc::new(self.door(number, &guard))))
                .collect(),
            reloading: self.reloading(),
        })
    }

    fn reloading(&self) -> Vec<Arc<dyn Reload>> {
        let listen = self.listen_tls.clone().map(|tls| tls as Arc<dyn Reload>);
        let upstream = self.upstream_tls.clone().map(|tls| tls as Arc<dyn Reload>);
        listen.into_iter().chain(upstream).collect()
    }

    fn connecting(&self) -> Connecting {
        Connecting {
            timeout: self.options.connect_timeout,
            protocol: self.options.upstream_protocol,
            proxy_out: self.options.placement.proxy_out,
        }
    }

    fn upstream(&self, upstream: &NamedUpstream) -> Result<Upstream, RecordError> {
        let tls = match (&upstream.url.place, &self.upstream_tls) {
            (
                Reached::Tcp {
                    tls: true, host, ..
                },
                Some(config),
            ) => Some(UpstreamTls {
                config: Arc::clone(config),
                name: match &self.server_name {
                    Some(name) => name.clone(),
                    None => server_name(host.clone())?,
                },
            }),
            _ => None,
        };
        Ok(Upstream::new(&upstream.url, tls, self.connecting())?)
    }

    fn make_transparent(&self, listener: &Listener) -> Result<(), PlacementError> {
        let Some(transparent) = self.options.placement.transparent else {
            return Ok(());
        };
        if listener.address().is_none() {
            return Err(PlacementError::TransparentSocket {
                place: listener.place(),
            });
        }
        match transparent {
            crate::record::Transparent::Redirect => Ok(()),
            crate::record::Transparent::Tproxy => listener.accept_any_destination(),
        }
    }

    fn leads_to(&self, number: usize) -> String {
        let upstream = self.leads_to.get(number);
        let upstream = upstream.and_then(|&upstream| self.options.upstreams.get(upstream));
        upstream.map_or_else(
            || "where each client wants to go".to_owned(),
            |upstream| upstream.url.to_string(),
        )
    }

    fn door(&self, number: usize, guard: &Arc<LoopGuard>) -> Door {
        let placement = &self.options.placement;
        let listen = self.options.listen.get(number);
        let upstream = self.leads_to.get(number).and_then(|&upstream| {
            let number = u16::try_from(upstream).ok()?;
            Some((number, Arc::clone(self.upstreams.get(upstream)?)))
        });
        Door {
            leads_to: match upstream {
                Some((number, upstream)) => LeadsTo::Upstream(number, upstream),
                None => LeadsTo::Original(Original {
                    how: placement
                        .transparent
                        .unwrap_or(crate::record::Transparent::Redirect),
                    guard: Arc::clone(guard),
                    connecting: self.connecting(),
                    tls: self.upstream_tls.clone(),
                    server_name: self.server_name.clone(),
                }),
            },
            tls: listen
                .filter(|listen| is_tls(self.options, listen))
                .and_then(|_| self.listen_tls.clone()),
            proxy_in: placement.proxy_in,
            forwarded: placement.forwarded,
        }
    }
}

impl Taken {
    /// The addresses that are listened on.
    pub(in crate::record) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners.iter();
        listeners
            .filter_map(|(listener, _)| listener.address())
            .collect()
    }

    /// What listens where and leads whereto, for people.
    pub(in crate::record) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let listeners = self.listeners.iter().zip(&self.upstreams);
        listeners.map(|((listener, door), upstream)| {
            let place = listener.place();
            let listener = match (listener, &door.tls) {
                (Listener::Tcp(_), Some(_)) => format!("https://{place}"),
                (Listener::Tcp(_), None) => format!("http://{place}"),
                (Listener::Unix(..), Some(_)) => format!("{place} (TLS)"),
                (Listener::Unix(..), None) => place,
            };
            Line { listener, upstream }
        })
    }
}

/// What can be wrong without a look at any file.
fn check(options: &Options) -> Result<(), PlacementError> {
    let placement = &options.placement;
    match (options.upstreams.is_empty(), placement.transparent) {
        (true, None) => return Err(PlacementError::NoUpstream),
        (false, Some(_)) => return Err(PlacementError::TransparentUpstream),
        _ => {}
    }
    let mut names = BTreeSet::new();
    for name in options
        .upstreams
        .iter()
        .filter_map(|each| each.name.as_ref())
    {
        if !names.insert(name) {
            return Err(PlacementError::SameName { name: name.clone() });
        }
    }
    for listen in &options.listen {
        let place = || listen.place.to_string();
        if listen.tls == Some(true) && placement.listen_tls.is_none() {
            return Err(PlacementError::NoCertificate { place: place() });
        }
        if placement.transparent.is_some() {
            if matches!(listen.place, listen::ListenPlace::Unix(_)) {
                return Err(PlacementError::TransparentSocket { place: place() });
            }
            if listen.upstream.is_some() {
                return Err(PlacementError::TransparentUpstream);
            }
        }
    }
    Ok(())
}

fn is_tls(options: &Options, listen: &Listen) -> bool {
    listen.tls.unwrap_or(options.placement.listen_tls.is_some())
}

/// The number of the upstream that a listener leads to: the one of the name that it says; without one, the one without a name, or the
/// only one.
fn leads_to(listen: &Listen, upstreams: &[NamedUpstream]) -> Result<usize, PlacementError> {
    let place = || listen.place.to_string();
    let named = |name: Option<&String>| {
        let mut matching = upstreams.iter().enumerate();
        matching.find_map(|(at, each)| (each.name.as_ref() == name).then_some(at))
    };
    match (&listen.upstream, upstreams) {
        (Some(name), _) => named(Some(name)).ok_or_else(|| PlacementError::NoSuchUpstream {
            place: place(),
            name: name.clone(),
        }),
        (None, [_]) => Ok(0),
        (None, _) => {
            let nameless = upstreams.iter().filter(|each| each.name.is_none()).count();
            match (nameless, named(None)) {
                (1, Some(at)) => Ok(at),
                _ => Err(PlacementError::WhichUpstream { place: place() }),
            }
        }
    }
}

fn server_name(name: String) -> Result<ServerName<'static>, PlacementError> {
    ServerName::try_from(name.clone()).map_err(|_| PlacementError::ServerName { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(listen: &str, upstreams: &[&str]) -> Result<usize, PlacementError> {
        let upstreams: Vec<NamedUpstream> =
            upstreams.iter().map(|text| text.parse().unwrap()).collect();
        leads_to(&listen.parse().unwrap(), &upstreams)
    }

    #[test]
    fn a_listener_finds_its_upstream() {
        let two = ["chat=http://a", "embed=http://b"];
        assert_eq!(led("embed=:1", &two).unwrap(), 1);
        assert_eq!(led(":1", &["chat=http://a"]).unwrap(), 0);
        assert_eq!(led(":1", &["chat=http://a", "http://b"]).unwrap(), 1);
        assert!(matches!(
            led(":1", &two),
            Err(PlacementError::WhichUpstream { .. })
        ));
        assert!(matches!(
            led(":1", &["http://a", "http://b"]),
            Err(PlacementError::WhichUpstream { .. })
        ));
        assert!(matches!(
            led("rerank=:1", &two),
            Err(PlacementError::NoSuchUpstream { .. })
        ));
    }
}
