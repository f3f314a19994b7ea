//! What is sampled beside the requests of a run: GPUs, and the pages on which engines and exporters tell of themselves.

use std::collections::BTreeSet;
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Instant;

use super::{Campaign, EngineMetrics, Gpu};
use crate::replay::Target;
use crate::telemetry::{EngineTimeline, GpuAbsent, GpuSampler, Known, PageUrl, Scraper, Timelines};

/// What samples during one run.
pub(super) struct Watch {
    began: Instant,
    gpu: Option<GpuSampler>,
    /// Where the target listens on this machine, if it does and GPUs are sampled.
    port: Option<u16>,
    pages: Vec<Scraper>,
    unread: Vec<EngineTimeline>,
    remarks: Vec<String>,
}

/// What was sampled during one run.
pub(super) struct Seen {
    pub(super) sampled: Timelines,
    /// What to know of what was sampled, or was not.
    pub(super) remarks: Vec<String>,
}

impl Campaign {
    /// Starts sampling what there is to sample of a target.
    pub(super) fn watch(&self, target: &Target) -> Watch {
        let began = Instant::now();
        let gpu = self.gpu_sampler(began).and_then(Result::ok);
        let host = target.url.host();
        let port = (gpu.is_some() && is_here(host)).then(|| target.url.port());
        let mut watch = Watch {
            began,
            gpu,
            port,
            pages: Vec::new(),
            unread: Vec::new(),
            remarks: Vec::new(),
        };
        if self.gpu == Gpu::Auto
            && watch.gpu.is_some()
            && port.is_none()
            && let Some(sampler) = watch.gpu.take()
        {
            drop(sampler.stop());
            watch.remarks.push(format!(
                "the GPUs of this machine are not counted as the target's, which is on another ({host}): --engine-metrics {}=URL reads an exporter \
                 there, and --gpu 0 (or UUIDs) takes those of this machine all the same",
                target.name
            ));
        }
        for (url, known) in self.pages(target) {
            match Scraper::start(&url, known, began) {
                Ok(page) => watch.pages.push(page),
                Err(error) if known == Known::Named => watch.unread.push(EngineTimeline {
                    url: url.to_string(),
                    missed: 1,
                    state: Some(format!("it was not read: {error}")),
                    ..EngineTimeline::default()
                }),
                // Nobody said that there was one.
                Err(_) => {}
            }
        }
        watch
    }

    /// What was asked to be sampled and cannot be, as warnings.
    pub(super) fn unwatched(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if matches!(self.gpu, Gpu::Asked { .. }) {
            match self.gpu_sampler(Instant::now()) {
                Some(Err(absent)) => {
                    warnings.push(format!("warning: GPU memory is not sampled: {absent}"));
                }
                // It was asked whether it can, and no more.
                Some(Ok(sampler)) => drop(sampler.stop()),
                None => {}
            }
        }
        if let EngineMetrics::Pages(pages) = &self.engine_metrics {
            for (_, url) in pages {
                match Scraper::look(url) {
                    Err(error) => warnings.push(format!(
                        "warning: {url} is not read: {error}; it goes on being asked for"
                    )),
                    Ok(Timelines { engine, gpus })
                        if engine.kind.is_none() && gpus.gpus.is_empty() =>
                    {
                        warnings.push(format!(
                            "warning: {url} tells of no engine or GPU that is known here"
                        ));
                    }
                    Ok(_) => {}
                }
            }
        }
        warnings
    }

    /// The pages that tell of a target, and whether someone said so.
    fn pages(&self, target: &Target) -> Vec<(PageUrl, Known)> {
        let mut told = BTreeSet::new();
        match &self.engine_metrics {
            EngineMetrics::Off => Vec::new(),
            EngineMetrics::Auto => {
                let url = &target.url;
                let page = PageUrl::of_server(url.is_tls(), url.host(), url.port());
                let page = page.with(target.headers_of_a_page(), target.ca.clone());
                vec![(page, Known::Guessed)]
            }
            EngineMetrics::Pages(pages) => pages
                .iter()
                .filter(|(name, _)| name.as_ref().is_none_or(|name| *name == target.name))
                // A page that is named for all targets and for this one, too, is one page.
                .filter(|(_, url)| told.insert(url.to_string()))
                .map(|(_, url)| (url.clone(), Known::Named))
                .collect(),
        }
    }

    /// What samples GPUs; `None` where nobody wants to know.
    fn gpu_sampler(&self, began: Instant) -> Option<Result<GpuSampler, GpuAbsent>> {
        let (library, chosen) = match &self.gpu {
            Gpu::Off => return None,
            Gpu::Auto => (None, Vec::new()),
            Gpu::Asked { library, chosen } => (library.clone(), chosen.clone()),
        };
        Some(GpuSampler::start_chosen(
            library,
            chosen,
            began,
            GpuSampler::PERIOD,
        ))
    }
}

impl Watch {
    /// Ends sampling; moments then count from `started`, when the first request might be sent.
    pub(super) fn stop(self, started: Instant) -> Seen {
        let lead = started.saturating_duration_since(self.began);
        let lead_us = u64::try_from(lead.as_micros()).unwrap_or(0);
        let mut gpus = self.gpu.map(GpuSampler::stop).unwrap_or_default();
        gpus.name_processes(self.port);
        let mut engines = self.unread;
        for page in self.pages.into_iter().map(Scraper::stop) {
            gpus.add(page.gpus);
            engines.push(page.engine.since(lead_us));
        }
        Seen {
            sampled: Timelines {
                gpus: gpus.since(lead_us),
                engine: EngineTimeline::together(engines),
            },
            remarks: self.remarks,
        }
    }
}

/// Whether a host is this machine: a socket can be bound to its address here and nowhere else. One whose address cannot be found is taken to be.
fn is_here(host: &str) -> bool {
    let Ok(mut addresses) = (host, 0).to_socket_addrs() else {
        return true;
    };
    addresses.any(|address| address.ip().is_loopback() || UdpSocket::bind(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn this_machine_is_told_from_others() {
        for host in ["127.0.0.1", "localhost", "127.1.2.3", "::1"] {
            assert!(is_here(host), "{host}");
        }
        // Addresses that no machine has (RFC 5737, RFC 3849).
        for host in ["192.0.2.1", "198.51.100.7", "2001:db8::1"] {
            assert!(!is_here(host), "{host}");
        }
    }
}
