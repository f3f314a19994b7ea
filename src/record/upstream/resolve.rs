use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// Where a host's name leads, looked up again for new connections, so that a moved upstream is found without a restart.
pub(in crate::record) struct Resolver {
    host: String,
    port: u16,
    /// A host that is an address needs no looking up.
    fixed: Option<Arc<[SocketAddr]>>,
    /// Held during a look-up, so that a burst of new connections asks once.
    known: Mutex<Option<Known>>,
}

struct Known {
    addresses: Arc<[SocketAddr]>,
    asked: Instant,
}

/// The system's resolver tells no time to live: this is short enough for any, and spares it a burst of questions.
const FRESH: Duration = Duration::from_secs(2);
/// How long addresses that were right a moment ago are held back in the hope of newer ones.
const PATIENCE: Duration = Duration::from_secs(1);

impl Resolver {
    pub(in crate::record) fn new(host: &str, port: u16) -> Self {
        let fixed = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
        Self {
            host: host.to_owned(),
            port,
            fixed: fixed.map(|address| [address].into()),
            known: Mutex::new(None),
        }
    }

    /// The host's addresses, the one to try first first; at least one.
    pub(in crate::record) async fn addresses(&self) -> io::Result<Arc<[SocketAddr]>> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        // On a thread of the runtime's blocking pool: the traffic's thread does not wait for a name server.
        let ask = async || {
            let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
            Ok(found.collect())
        };
        self.addresses_by(ask, Instant::now()).await
    }

    /// None of the addresses answered: the next connection asks anew.
    pub(in crate::record) async fn doubt(&self) {
        if let Some(known) = &mut *self.known.lock().await
            && let Some(long_ago) = known.asked.checked_sub(FRESH)
        {
            known.asked = long_ago;
        }
    }

    /// A host that leads to these addresses.
    #[cfg(test)]
    pub(in crate::record) fn knowing(addresses: &[SocketAddr]) -> Self {
        Self {
            fixed: Some(addresses.into()),
            ..Self::new("model.test", 80)
        }
    }

    async fn addresses_by(
        &self,
        ask: impl AsyncFnOnce() -> io::Result<Vec<SocketAddr>>,
        now: Instant,
    ) -> io::Result<Arc<[SocketAddr]>> {
        let mut known = self.known.lock().await;
        let found = match &*known {
            Some(known) if now.saturating_duration_since(known.asked) < FRESH => {
                return Ok(Arc::clone(&known.addresses));
            }
            // With addresses in hand, a name server that is silent or broken is no reason to fail.
            Some(_) => tokio::time::timeout(PATIENCE, ask())
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            None => ask().await,
        };
        match (found, &mut *known) {
            (Ok(found), known) if !found.is_empty() => {
                let addresses: Arc<[SocketAddr]> = found.into();
                *known = Some(Known {
                    addresses: Arc::clone(&addresses),
                    asked: now,
                });
                Ok(addresses)
            }
            (_, Some(known)) => {
                known.asked = now;
                Ok(Arc::clone(&known.addresses))
            }
            (Err(error), None) => Err(error),
            (Ok(_), None) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn names_are_asked_for_anew_but_not_in_a_burst() {
        let resolver = Resolver::new("model.test", 80);
        let asked = Cell::new(0_u8);
        let start = Instant::now();
        let at = async |ms: u64| {
            let ask = async || {
                asked.set(asked.get() + 1);
                Ok(vec![addr(&format!("192.0.2.{}:80", asked.get()))])
            };
            let now = start + Duration::from_millis(ms);
            resolver.addresses_by(ask, now).await.unwrap()[0]
        };
        assert_eq!(at(0).await, addr("192.0.2.1:80"));
        assert_eq!(at(1999).await, addr("192.0.2.1:80"));
        assert_eq!(at(2000).await, addr("192.0.2.2:80"));
        resolver.doubt().await;
        assert_eq!(at(2001).await, addr("192.0.2.3:80"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn old_addresses_serve_while_the_name_server_is_broken_or_silent() {
        let resolver = Resolver::new("model.test", 80);
        let start = Instant::now();
        let first = addr("192.0.2.1:80");
        let broken = async || Err(io::Error::from(io::ErrorKind::NotFound));
        assert!(resolver.addresses_by(broken, start).await.is_err());
        let found = resolver
            .addresses_by(async || Ok(vec![first]), start)
            .await
            .unwrap();
        assert_eq!(*found, [first]);
        for (ms, silent) in [(3000, false), (6000, true), (9000, false)] {
            let ask = async || {
                if silent {
                    std::future::pending::<()>().await;
                }
                Err(io::Error::from(io::ErrorKind::NotFound))
            };
            let found = resolver.addresses_by(ask, start + Duration::from_millis(ms));
            assert_eq!(*found.await.unwrap(), [first]);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_is_not_looked_up() {
        let found = Resolver::new("2001:db8::1", 443).addresses().await.unwrap();
        assert_eq!(*found, [addr("[2001:db8::1]:443")]);
    }
}
