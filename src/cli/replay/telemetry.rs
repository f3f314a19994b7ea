//! Options that say what is sampled beside the requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::HeaderMap;

use super::NamedUrl;
use super::connections::read_headers;
use super::progress::say;
use crate::campaign::{EngineMetrics, Gpu, Live, Served};
use crate::cli::failure::Failure;
use crate::replay::Target;
use crate::report::ResultDocument;
use crate::telemetry::PageUrl;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Memory and metrics")]
pub(super) struct TelemetryArgs {
    /// GPU memory through NVML: `auto` (every GPU of this machine, for targets on it), `off`, or GPUs by index or UUID (`0,2`, `MIG-…`);
    /// the path of libnvidia-ml.so.1 among them where it is not on the system's path
    #[arg(long, default_value = "auto", value_name = "SOURCE", value_parser = gpu)]
    gpu: Gpu,

    /// The Prometheus page of a target's engine (vLLM, SGLang, TGI, llama.cpp, Triton) or of a GPU exporter (DCGM, nvidia_gpu_exporter,
    /// AMD's), read once a second: KV cache, queue, preemptions, prefix hits, VRAM. NAME= says whose it is; repeatable, also for one
    /// target. `auto` looks at each target's own /metrics, `off` at none
    #[arg(long, default_value = "auto", value_name = "[NAME=]URL", value_parser = source)]
    engine_metrics: Vec<Source>,

    /// Send this header with every question for a page of --engine-metrics URL (repeatable); a secret as `NAME: env:VARIABLE` or
    /// `NAME: file:PATH`
    #[arg(long = "engine-metrics-header", value_name = "NAME: VALUE")]
    engine_metrics_headers: Vec<String>,

    /// Show what is going on at http://ADDR/metrics to Prometheus while it runs: per target, requests sent, open, answered and failed,
    /// lateness, latencies so far; port 0 for any
    #[arg(long, value_name = "HOST:PORT", value_parser = listen)]
    metrics: Option<SocketAddr>,

    /// When it has ended, write its figures and its verdict as Prometheus text, for node_exporter's textfile collector, which reads *.prom
    #[arg(long, value_name = "FILE.prom", value_parser = textfile)]
    metrics_textfile: Option<PathBuf>,
}

/// One `--engine-metrics`.
#[derive(Debug, Clone)]
enum Source {
    Auto,
    Off,
    Page(Option<String>, PageUrl),
}

impl TelemetryArgs {
    /// The page of the campaign's metrics, where it is asked for; it is there as long as what comes back.
    ///
    /// # Errors
    /// When its address cannot be listened on.
    pub(super) fn shown(&self) -> Result<Option<(Live, Served)>, Failure> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let live = Live::default();
        let served = live.serve(address).map_err(|error| {
            Failure::could_not_run(anyhow::anyhow!("--metrics {address}: {error}"))
                .hint("give an address of this machine and a free port, or port 0 for any")
        })?;
        say(&format!("metrics on http://{}/metrics", served.address()));
        Ok(Some((live, served)))
    }

    /// Holds that the textfile can be written: better before a run than after it.
    ///
    /// # Errors
    /// When its directory is not there, or nothing can be written to it.
    pub(super) fn check_textfile(&self) -> Result<(), Failure> {
        let Some(dir) = self.metrics_textfile.as_deref().and_then(Path::parent) else {
            return Ok(());
        };
        let dir = match dir.as_os_str().is_empty() {
            true => Path::new("."),
            false => dir,
        };
        let why = if dir.is_dir() {
            match tempfile::tempfile_in(dir) {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            }
        } else {
            "it is no directory".to_owned()
        };
        Err(Failure::could_not_run(anyhow::anyhow!(
            "--metrics-textfile: {}: {why}",
            dir.display()
        ))
        .hint("make it, or name the one that node_exporter's --collector.textfile.directory names"))
    }

    /// Writes the textfile, where one is asked for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_textfile(&self, document: &ResultDocument) -> Result<(), Failure> {
        match &self.metrics_textfile {
            Some(path) => Ok(document.write_textfile(path)?),
            None => Ok(()),
        }
    }

    pub(super) fn gpu(&self) -> Gpu {
        self.gpu.clone()
    }

    /// # Errors
    /// When a page is said to be of a target that there is not, `auto` or `off` stands beside pages, or headers without a page.
    pub(super) fn engine_metrics(&self, targets: &[Target]) -> Result<EngineMetrics, Failure> {
        let mut headers = HeaderMap::new();
        read_headers("--engine-metrics-header", &self.engine_metrics_headers)?
            .put_into(&mut headers);
        let reads_pages = |it: &Source| matches!(it, Source::Page(..));
        if !headers.is_empty() && !self.engine_metrics.iter().any(reads_pages) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--engine-metrics-header goes with a page of --engine-metrics URL, and none is given"
            ))
            .hint("name the page: --engine-metrics http://HOST:PORT/metrics"));
        }
        // Who has an authority of their own has it for their exporters, too.
        let ca = targets.iter().find_map(|target| target.ca.clone());
        let mut pages = Vec::new();
        for source in &self.engine_metrics {
            match (source, self.engine_metrics.len()) {
                (Source::Auto, 1) => return Ok(EngineMetrics::Auto),
                (Source::Off, 1) => return Ok(EngineMetrics::Off),
                (Source::Auto | Source::Off, _) => {
                    return Err(Failure::usage(anyhow::anyhow!(
                        "--engine-metrics auto and off stand alone"
                    ))
                    .hint("leave them out beside URLs"));
                }
                (Source::Page(name, url), _) => {
                    let page = url.clone().with(headers.clone(), ca.clone());
                    pages.push((name.clone(), page));
                }
            }
        }
        let names = || targets.iter().map(|target| target.name.as_str());
        let stranger = pages
            .iter()
            .filter_map(|(name, _)| name.as_deref())
            .find(|name| !names().any(|known| known == *name));
        if let Some(stranger) = stranger {
            let known: Vec<&str> = names().collect();
            return Err(Failure::usage(anyhow::anyhow!(
                "--engine-metrics {stranger}=…: no target is named `{stranger}`"
            ))
            .hint(format!("the targets are {}", known.join(", "))));
        }
        Ok(EngineMetrics::Pages(pages))
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        "not an address; write 127.0.0.1:9465, or 0.0.0.0:9465 for other machines".to_owned()
    })
}

fn textfile(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(kind) if kind == "prom" => Ok(path),
        _ => Err("the textfile collector reads nothing but *.prom; name it FILE.prom".to_owned()),
    }
}

fn gpu(text: &str) -> Result<Gpu, String> {
    Ok(match text {
        "auto" => Gpu::Auto,
        "off" => Gpu::Off,
        asked => {
            let mut library = None;
            let mut chosen = Vec::new();
            for part in asked.split(',').map(str::trim) {
                if part.contains('/') {
                    library = Some(PathBuf::from(part));
                } else if part.parse::<u32>().is_ok()
                    || part.starts_with("GPU-")
                    || part.starts_with("MIG-")
                {
                    chosen.push(part.to_owned());
                } else {
                    return Err(format!(
                        "`{part}` is no GPU; write auto, off, an index (0,2), a UUID (GPU-…, MIG-…) or the library's path (with a /)"
                    ));
                }
            }
            Gpu::Asked { library, chosen }
        }
    })
}

fn source(text: &str) -> Result<Source, String> {
    match text.trim() {
        "auto" => Ok(Source::Auto),
        "off" => Ok(Source::Off),
        text => {
            let (name, url) = NamedUrl::split(text)?;
            Ok(Source::Page(name, url.parse()?))
        }
    }
}
