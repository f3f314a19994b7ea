use std::collections::HashMap;
use std::time::Instant;

use super::link::Link;
use crate::record::front::door::PoolKey;

/// Upstream connections that the next exchange may use: idle ones of HTTP/1, the latest used last, and shared ones of HTTP/2.
#[derive(Default)]
pub(in crate::record) struct Pools(HashMap<PoolKey, Vec<(Instant, Link)>>);

impl Pools {
    /// A connection that is still open, from the ones idle since `oldest` at most.
    pub(in crate::record) fn take(
        &mut self,
        key: PoolKey,
        oldest: Option<Instant>,
    ) -> Option<Link> {
        let links = self.0.get_mut(&key)?;
        while let Some((since, mut link)) = links.pop() {
            if let Some(shared) = link.share() {
                if link.is_reusable() {
                    links.push((since, link));
                    return Some(shared);
                }
            } else if oldest.is_none_or(|oldest| since >= oldest) && link.is_reusable() {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over, or that others may share from now on.
    pub(in crate::record) fn put(&mut self, key: PoolKey, now: Instant, mut link: Link) {
        if link.is_reusable() {
            self.0.entry(key).or_default().push((now, link));
        }
    }

    /// Forgets the connections that only one client used.
    pub(in crate::record) fn remove(&mut self, key: PoolKey) {
        self.0.remove(&key);
    }

    /// Closes what has been idle since before `oldest`, and what the upstream has closed.
    pub(in crate::record) fn sweep(&mut self, oldest: Option<Instant>) {
        self.0.retain(|_, links| {
            links.retain_mut(|(since, link)| {
                let shared = link.share().is_some();
                (shared || oldest.is_none_or(|oldest| *since >= oldest)) && link.is_reusable()
            });
            !links.is_empty()
        });
    }
}
