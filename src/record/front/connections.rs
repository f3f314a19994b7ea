use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Why a client's connection was closed before HTTP was spoken on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum TurnedAway {
    /// There were too many already.
    MaxConnections,
    /// Every lane has too many waiting.
    Busy,
    /// The TLS handshake failed.
    Tls,
    /// It did not begin with a PROXY header.
    ProxyProtocol,
    /// The handshakes took too long.
    Slow,
    /// It was not redirected to us, so it has no original destination.
    NotRedirected,
    /// Its destination is ourselves.
    Loop,
    /// The socket broke.
    Broken,
}

impl TurnedAway {
    /// Every reason, in the order of their counters.
    const ALL: [Self; 8] = [
        Self::MaxConnections,
        Self::Busy,
        Self::Tls,
        Self::ProxyProtocol,
        Self::Slow,
        Self::NotRedirected,
        Self::Loop,
        Self::Broken,
    ];

    /// The value of the `reason` label.
    pub(in crate::record) const fn name(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::Busy => "busy",
            Self::Tls => "tls",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Slow => "slow_handshake",
            Self::NotRedirected => "not_redirected",
            Self::Loop => "loop",
            Self::Broken => "broken",
        }
    }
}

/// How many clients are connected, at most how many may be, and how many were turned away.
#[derive(Debug)]
pub(in crate::record) struct Connections {
    most: usize,
    open: Arc<AtomicUsize>,
    farewells: Arc<AtomicUsize>,
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

impl Connections {
    pub(in crate::record) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Arc::default(),
            farewells: Arc::default(),
            turned_away: Default::default(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        })
    }

    /// Lets one more in; `None` where there are too many.
    pub(in crate::record) fn enter(&self) -> Option<Permit> {
        Permit::of(&self.open, self.most)
    }

    /// Lets one more be told that there are too many; `None` where even of these there are.
    pub(in crate::record) fn farewell(&self) -> Option<Permit> {
        Permit::of(&self.farewells, MOST_FAREWELLS)
    }

    /// One was turned away.
    pub(in crate::record) fn turn_away(&self, reason: TurnedAway) {
        if let Some(counter) = self.turned_away.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Certificates were read again, or could not be.
    pub(in crate::record) fn reloaded(&self, well: bool) {
        let counter = if well {
            &self.reloads
        } else {
            &self.failed_reloads
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Connected clients.
    pub(in crate::record) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were turned away, by reason.
    pub(in crate::record) fn turned_away(&self) -> impl Iterator<Item = (TurnedAway, u64)> {
        TurnedAway::ALL
            .into_iter()
            .zip(&self.turned_away)
            .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
    }

    /// How often certificates were read again, (well, in vain).
    pub(in crate::record) fn reloads(&self) -> (u64, u64) {
        (
            self.reloads.load(Ordering::Relaxed),
            self.failed_reloads.load(Ordering::Relaxed),
        )
    }
}

const MOST_FAREWELLS: usize = 256;

/// A client's place, until it is dropped.
#[derive(Debug)]
pub(in crate::record) struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn of(places: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let taken = places.fetch_add(1, Ordering::Relaxed);
        // Made first, so that one too many gives its place back by being dropped.
        let permit = Self(Arc::clone(places));
        (taken < most).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The same at `/metrics`.
#[derive(Debug)]
pub(in crate::record) struct CountedConnections(pub(in crate::record) Arc<Connections>);

impl Collector for CountedConnections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = i64::try_from(self.0.open()).unwrap_or(i64::MAX);
        ConstGauge::new(open).encode(encoder.encode_descriptor(
            "reenact_connections_open",
            "Clients that are connected",
            None,
            MetricType::Gauge,
        )?)?;
        let mut refused = encoder.encode_descriptor(
            "reenact_connections_refused",
            "Clients that were turned away before they could ask anything, by reason",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in self.0.turned_away() {
            let label = [("reason", reason.name())];
            ConstCounter::new(count).encode(refused.encode_family(&label)?)?;
        }
        let (well, failed) = self.0.reloads();
        let mut reloads = encoder.encode_descriptor(
            "reenact_tls_reloads",
            "How often certificates were read again, by result",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in [("ok", well), ("failed", failed)] {
            let label = [("result", result)];
            ConstCounter::new(count).encode(reloads.encode_family(&label)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_left_can_be_taken_again() {
        let connections = Connections::new(1);
        let first = connections.enter().unwrap();
        assert!(connections.enter().is_none());
        assert_eq!(connections.open(), 1);
        drop(first);
        assert!(connections.enter().is_some());
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn reasons_have_counters_of_their_own() {
        let connections = Connections::new(1);
        for reason in TurnedAway::ALL {
            connections.turn_away(reason);
        }
        assert!(connections.turned_away().all(|(_, count)| count == 1));
    }
}
