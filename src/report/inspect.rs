//! What is in a trace, for people (text, a page) and for programs (`reenact.inspect/1`).

mod charts;
mod distributions;
mod icicle;
mod page;
mod reading;
mod tables;
mod websockets;

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::Serialize;

use crate::measure::traffic::picture::Picture;
use crate::measure::traffic::{Quantiles, Share, Traffic, WebSockets};
use crate::shape::{BlockSpec, BlockUnit};
use crate::trace::{Damage, Header, Missing, Source, Totals, Trace};

/// The document that `reenact inspect --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// `reenact.inspect/1`
    pub schema: &'static str,
    /// The files, in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// What the first file says of itself.
    pub header: HeaderView,
    /// Statistics of the exchanges.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Their shapes: over time, by scale, by size, by shared beginning, by session.
    #[serde(flatten)]
    pub picture: Picture,
    /// Exchanges by model.
    pub models: Vec<ModelCount>,
    /// What became of every exchange that the recorder saw.
    pub accounts: Totals,
    /// What the recorder lost; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// What could not be read.
    pub damage: Damage,
}

/// A trace's header, in words.
#[derive(Debug, Clone, Serialize)]
pub struct HeaderView {
    /// Version of the tool that wrote it.
    pub tool: String,
    /// Where the exchanges come from.
    pub source: Source,
    /// What one block of a prompt chain covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockSpec>,
    /// Wall-clock instant of the epoch, where kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_unix_us: Option<u64>,
    /// Share of sessions recorded.
    pub sample_rate: f64,
}

/// How often a model was asked.
#[derive(Debug, Clone, Serialize)]
pub struct ModelCount {
    /// Its name, where it was kept, else its pseudonym.
    pub model: String,
    /// Whether `model` is a pseudonym.
    pub pseudonym: bool,
    /// Exchanges.
    pub exchanges: u64,
}

impl Inspection {
    /// Puts together what reading a trace to its end showed.
    /// `header` is what holds of all its files.
    pub fn new(trace: &Trace, header: &Header, traffic: Traffic, picture: Picture) -> Self {
        let files = trace.files();
        let mut models: Vec<_> = traffic
            .by_model
            .iter()
            .map(|(&model, &exchanges)| {
                let name = trace.model_name(model);
                ModelCount {
                    model: name.map_or_else(|| model.to_string(), str::to_owned),
                    pseudonym: name.is_none(),
                    exchanges,
                }
            })
            .collect();
        models.sort_by(|a, b| b.exchanges.cmp(&a.exchanges).then(a.model.cmp(&b.model)));
        Self {
            schema: "reenact.inspect/1",
            bytes: trace.bytes(),
            files,
            header: HeaderView {
                tool: header.tool.clone(),
                source: header.source,
                block: header.block,
                epoch_unix_us: header.epoch_unix_us,
                sample_rate: f64::from(header.sample_ppm) / 1e6,
            },
            models,
            accounts: trace.totals(),
            missing: trace.totals().missing(),
            damage: trace.damage(),
            traffic,
            picture,
        }
    }

    /// The file that was read, or how many there were.
    fn name(&self) -> String {
        match self.files.as_slice() {
            [file] => file.display().to_string(),
            [first, .., last] => format!(
                "{} files, {} to {}",
                self.files.len(),
                first.display(),
                last.display()
            ),
            [] => String::new(),
        }
    }
}

/// The text for a terminal: one fact to a line, distributions as a table.
impl Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin(f)?;
        self.arrivals(f)?;
        self.counts(f)?;
        self.distributions(f)?;
        self.sharing(f)?;
        self.accounts(f)
    }
}

impl Inspection {
    fn origin(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = &self.traffic;
        line(f, "trace", self.name())?;
        let source = match self.header.source {
            Source::Recorded => "recorded".to_owned(),
            Source::Other => "unknown".to_owned(),
            source => format!("imported from {}", source.title()),
        };
        line(
            f,
            "source",
            format!("{source}, by reenact {}", self.header.tool),
        )?;
        if self.header.sample_rate < 1.0 {
            line(f, "sampled", percent(self.header.sample_rate))?;
        }
        let per_exchange = match traffic.exchanges {
            0 => String::new(),
            #[allow(clippy::cast_precision_loss, reason = "for display")]
            n => format!(", {:.1} bytes each", self.bytes as f64 / n as f64),
        };
        line(f, "size", format!("{} bytes{per_exchange}", self.bytes))?;
        line(f, "exchanges", traffic.exchanges)?;
        line(f, "span", format!("{:.3} s", traffic.span_s))
    }

    fn arrivals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrivals = &self.traffic.arrivals;
        let mut rates = Vec::new();
        for (value, what) in [
            (arrivals.mean_per_s, "mean"),
            (arrivals.peak_1s_per_s, "busiest second"),
            (arrivals.peak_10s_per_s, "busiest 10 s"),
        ] {
            rates.extend(value.map(|rate| format!("{rate:.2}/s {what}")));
        }
        line(f, "rate", rates.join(", "))?;
        let mut burst = Vec::new();
        for (value, what) in [
            (arrivals.interarrival_cv, "inter-arrival CV"),
            (arrivals.dispersion_1s, "dispersion 1 s"),
            (arrivals.dispersion_10s, "10 s"),
            (arrivals.dispersion_60s, "60 s"),
        ] {
            burst.extend(value.map(|value| format!("{what} {value:.2}")));
        }
        if !burst.is_empty() {
            line(
                f,
                "burstiness",
                format!("{} (Poisson is 1)", burst.join(", ")),
            )?;
        }
        if let Some(in_flight) = self.traffic.in_flight {
            let text = format!(
                "{} at most, {:.1} on average",
                in_flight.peak, in_flight.mean
            );
            line(f, "in flight", text)?;
        }
        Ok(())
    }

    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = &self.traffic;
        writeln!(f)?;
        line(f, "endpoints", counts(&traffic.by_endpoint))?;
        line(f, "outcomes", counts(&traffic.by_outcome))?;
        line(f, "statuses", counts(&traffic.by_status))?;
        line(f, "shapes", counts(&traffic.by_shape))?;
        if !traffic.by_finish.is_empty() {
            line(f, "finishes", counts(&traffic.by_finish))?;
        }
        line(f, "errors", share(traffic.errors))?;
        line(f, "streaming", share(traffic.streaming))?;
        if let Some(slow) = traffic.slow_readers {
            line(f, "slow readers", share(slow))?;
        }
        if traffic.with_tools.count > 0 || traffic.tool_calls > 0 {
            let text = format!(
                "{}, {} calls",
                share(traffic.with_tools),
                traffic.tool_calls
            );
            line(f, "tools", text)?;
        }
        if traffic.with_media.count > 0 {
            let text = format!(
                "{}, parts: {}",
                share(traffic.with_media),
                counts(&traffic.media_parts)
            );
            line(f, "media", text)?;
        }
        if let Some(with_tensors) = traffic.with_tensors {
            let text = format!(
                "{}, of: {}",
                share(with_tensors),
                counts(&traffic.tensor_datatypes)
            );
            line(f, "tensors", text)?;
        }
        let types: Vec<_> = [
            ("requests", &traffic.request_media_types),
            ("answers", &traffic.response_media_types),
        ]
        .into_iter()
        .filter(|(_, types)| !types.is_empty())
        .map(|(of, types)| format!("of {of}: {}", counts(types)))
        .collect();
        line(f, "media types", types.join("; "))?;
        if let Some(websockets) = &traffic.websockets {
            line(f, "websockets", websockets::in_a_line(websockets))?;
        }
        if let Some(sessions) = traffic.sessions {
            line(f, "sessions", sessions)?;
        }
        if !self.models.is_empty() {
            const SHOWN: usize = 8;
            let mut shown: Vec<_> = self
                .models
                .iter()
                .take(SHOWN)
                .map(|model| format!("{} {}", model.model, model.exchanges))
                .collect();
            if self.models.len() > SHOWN {
                shown.push(format!("and {} more", self.models.len() - SHOWN));
            }
            line(f, "models", shown.join(", "))?;
        }
        Ok(())
    }

    fn distributions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = &self.traffic;
        let frames =
            |of: fn(&WebSockets) -> Option<Quantiles>| traffic.websockets.as_ref().and_then(of);
        let rows: Vec<_> = [
            ("prompt tokens", traffic.prompt_tokens, 0),
            ("output tokens", traffic.output_tokens, 0),
            ("request bytes", traffic.request_bytes, 0),
            ("tensor elements", traffic.tensor_elements, 0),
            ("TTFT ms", traffic.ttft_ms, 2),
            ("E2E ms", traffic.e2e_ms, 2),
            ("gap ms", traffic.gap_ms, 2),
            ("longest stall ms", traffic.longest_stall_ms, 2),
            ("sent frame bytes", frames(|it| it.sent_bytes), 0),
            ("sent frame gap ms", frames(|it| it.sent_gap_ms), 2),
            ("came frame gap ms", frames(|it| it.came_gap_ms), 2),
        ]
        .into_iter()
        .filter_map(|(name, quantiles, digits)| Some((name, quantiles?, digits)))
        .collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        write!(f, "{:<18}", "")?;
        for head in ["mean", "p50", "p90", "p95", "p99", "max"] {
            write!(f, "{head:>12}")?;
        }
        writeln!(f)?;
        for (name, quantiles, digits) in rows {
            let Quantiles {
                mean,
                p50,
                p90,
                p95,
                p99,
                max,
                ..
            } = quantiles;
            write!(f, "{name:<18}")?;
            for value in [mean, p50, p90, p95, p99, max] {
                write!(f, "{value:>12.digits$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn sharing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(prefix), Some(spec)) = (self.traffic.prefix, self.header.block) else {
            return Ok(());
        };
        writeln!(f)?;
        let unit = match spec.unit {
            BlockUnit::Bytes => "bytes",
            BlockUnit::Tokens => "tokens",
        };
        let tokens = prefix.prefix_share.map_or(String::new(), |share| {
            format!("{} of prompt tokens, ", percent(share))
        });
        line(
            f,
            "prefix sharing",
            format!(
                "{tokens}{} of blocks repeat an earlier prompt's beginning",
                percent(prefix.block_share)
            ),
        )?;
        line(
            f,
            "prompt blocks",
            format!(
                "{} of {} {unit}, {} different",
                prefix.blocks_total, spec.size, prefix.blocks_distinct
            ),
        )
    }

    fn accounts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let accounts = &self.accounts;
        let mut text = format!("{} seen, {} recorded", accounts.seen, accounts.recorded);
        if accounts.sampled_out > 0 {
            text += &format!(", {} sampled out", accounts.sampled_out);
        }
        if accounts.simulated > 0 {
            text += &format!(", {} answered by a simulated server", accounts.simulated);
        }
        line(f, "accounts", text)?;
        if let Some(missing) = &self.missing {
            line(f, "missing", missing)?;
        }
        let damage = &self.damage;
        if damage.unfinished_files > 0 {
            let text = format!(
                "{} (still being written, or its recorder was killed)",
                damage.unfinished_files
            );
            line(f, "unfinished files", text)?;
        }
        if damage.is_loss() {
            line(f, "damage", damage)?;
        }
        Ok(())
    }
}

/// A fact and its name; nothing where there is nothing to tell.
fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    match value.to_string() {
        nothing if nothing.is_empty() => Ok(()),
        value => writeln!(f, "{name:<18}{value}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn share(Share { count, share }: Share) -> String {
    format!("{count} ({})", percent(share))
}

/// `name count` pairs, the most frequent first. Names are as in JSON.
fn counts<'a, K: Serialize + 'a>(counts: impl IntoIterator<Item = (&'a K, &'a u64)>) -> String {
    let pairs: Vec<_> = counted(counts)
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    pairs.join(", ")
}

/// Names as in JSON with their counts, the most frequent first.
fn counted<'a, K: Serialize + 'a>(
    counts: impl IntoIterator<Item = (&'a K, &'a u64)>,
) -> Vec<(String, u64)> {
    let mut pairs: Vec<_> = counts
        .into_iter()
        .map(|(key, &count)| {
            let name = serde_json::to_value(key).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or("?");
            (name.to_owned(), count)
        })
        .collect();
    pairs.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    pairs
}
