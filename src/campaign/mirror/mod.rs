//! What a recorder's mirror comes to, in the document of a replay: the candidate as its target, and production at the same requests as
//! `recorded`.
//!
//! Everything is added up as it comes, in bounded memory; the requests go to the log. Nothing is sent from here, and no schedule is kept.

mod evidence;
mod outcome;
mod place;
mod sessions;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use super::once::{Measured, production};
use super::run::now;
use super::stage::{Played, join};
use super::tally::Tally;
use crate::measure::{
    CompareOptions, FidelityBar, MeasureOptions, MeasuredRun, Observed, RECORDED, RunSample,
    Scaling, Side, TargetIdentity, compare_with_recorded,
};
use crate::record::{MirrorEnding, MirrorLost, MirrorResults, Mirrored};
use crate::report::{
    MirrorAccount, PlanAccount, ReportError, ResultDocument, RunGaps, Tool, TraceAccount,
};
use crate::verdict::judge_against;
use evidence::evidence;
use outcome::outcome;
use place::Place;
use sessions::Sessions;

/// What a mirror's result says of the mirror.
#[derive(Debug, Clone)]
pub struct MirrorReported {
    /// The candidate's name.
    pub name: String,
    /// Its base URL, without credentials.
    pub url: String,
    /// The model that it is asked for, where not for the one that production's clients asked for.
    pub model: Option<String>,
    /// Share of conversations that it gets.
    pub share: f64,
    /// Whether the result may tell when the recorder was started, beyond the day.
    pub wall_clock: bool,
    /// The command line, for the report.
    pub command: Option<String>,
}

/// A mirror's result while it grows.
pub struct MirrorReport {
    reported: MirrorReported,
    place: Place,
    began: Instant,
    started_at: String,
    tally: Tally,
    sessions: Sessions,
    account: MirrorAccount,
    behind_us: u64,
    /// Requests that have a figure.
    requests: u64,
    conversations: u64,
    lone: u64,
    /// When the first of them was handed to the mirror, and the last.
    span_us: Option<(u64, u64)>,
    production_simulated: bool,
}

impl MirrorReport {
    /// Begins a result, which goes to a directory of its own below `dir`: `mirror-000001`, or the next one that is free.
    ///
    /// # Errors
    /// When `dir` cannot be made or written to.
    pub fn begin(dir: &Path, reported: MirrorReported) -> Result<Self, ReportError> {
        let started_at = match reported.wall_clock {
            true => now(),
            false => today(),
        };
        let measuring = MeasureOptions {
            bar: BAR,
            ..MeasureOptions::default()
        };
        Ok(Self {
            place: Place::below(dir)?,
            began: Instant::now(),
            started_at,
            tally: Tally::new(&measuring, &[], true, 0),
            sessions: Sessions::default(),
            account: MirrorAccount {
                share: reported.share,
                ..MirrorAccount::default()
            },
            behind_us: 0,
            requests: 0,
            conversations: 0,
            lone: 0,
            span_us: None,
            production_simulated: false,
            reported,
        })
    }

    fn document(&self, played: Played) -> ResultDocument {
        let elapsed_s = self.began.elapsed().as_secs_f64();
        let span_s = self
            .span_us
            .map_or(0.0, |(first, last)| seconds(last.saturating_sub(first)));
        let targets: Vec<_> = played.targets.into_iter().map(|run| run.summary).collect();
        let verdict = judge_against(RECORDED, &[], &targets, &played.comparison);
        ResultDocument {
            schema: ResultDocument::SCHEMA,
            tool: Tool::THIS,
            started_at: self.started_at.clone(),
            elapsed_s,
            simulated: self.production_simulated || targets.iter().any(|it| it.simulated),
            command: self.reported.command.clone(),
            trace: TraceAccount {
                files: Vec::new(),
                exchanges: self.requests,
                span_s,
            },
            plan: PlanAccount {
                speed: 1.0,
                rate_scale: 1.0,
                sessions: "independent".to_owned(),
                planned: self.requests,
                conversations: self.conversations,
                lone: self.lone,
                span_s,
                ..PlanAccount::default()
            },
            schedule: None,
            mirror: Some(self.account.clone()),
            targets,
            comparison: played.comparison,
            verdict,
        }
    }

    /// Ends the measurement.
    fn measured(&mut self) -> Measured {
        let reported = &self.reported;
        let identity = TargetIdentity {
            name: reported.name.clone(),
            url: reported.url.clone(),
            model: reported.model.clone(),
            protocol: Some("http/1.1".to_owned()),
        };
        let evidence = evidence(&self.account);
        let Tally {
            mut measure,
            recorded,
            without_twin,
            ..
        } = std::mem::replace(
            &mut self.tally,
            Tally::new(&MeasureOptions::default(), &[], false, 0),
        );
        let sample = measure.take_sample();
        let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
        let mut summary = measure.finish(identity, evidence, Observed::default());
        // Nobody planned what prompts share.
        summary.fidelity.prefix_share_sent = None;
        let recorded = recorded.and_then(|recorded| production(recorded, without_twin, LIVE));
        Measured {
            run: MeasuredRun {
                summary,
                latencies,
                lateness,
            },
            sample,
            recorded,
            elapsed: self.began.elapsed(),
            sampled: None,
        }
    }
}

impl MirrorResults for MirrorReport {
    fn add(&mut self, mirrored: Mirrored) -> bool {
        if self.requests >= MOST_REQUESTS {
            if self.account.unmeasured == 0 {
                tracing::error!(
                    most = MOST_REQUESTS,
                    "the mirror's result is full, and will be invalid: start the recorder again for another"
                );
            }
            self.account.unmeasured += 1;
            return false;
        }
        let (lost, offered_us) = (mirrored.candidate.lost, mirrored.offered_us);
        let behind_us = offered_us.saturating_sub(mirrored.whole_us);
        let is_slow = mirrored.production.slow_reader_bytes_per_s().is_some();
        let simulated = mirrored.production_simulated;
        let turn = mirrored.conversation.map(|it| self.sessions.turn(it));
        // First, since a bug there costs this request, which is then in no other figure.
        let outcome = outcome(mirrored, turn);
        match lost {
            Some(lost) if lost.is_drop() => {
                let dropped = self.account.dropped.entry(lost.name().to_owned());
                *dropped.or_default() += 1;
            }
            Some(MirrorLost::Open) => self.account.open_at_the_end += 1,
            _ => {}
        }
        self.behind_us += behind_us;
        self.account.behind_max_ms = self.account.behind_max_ms.max(milliseconds(behind_us));
        self.production_simulated |= simulated;
        self.account.slow_readers += u64::from(is_slow);
        match turn {
            Some(turn) => self.conversations += u64::from(turn.place == 0),
            None => self.lone += 1,
        }
        let (first, last) = self.span_us.unwrap_or((offered_us, offered_us));
        self.span_us = Some((first.min(offered_us), last.max(offered_us)));
        self.requests += 1;
        let logged = self.place.log(&self.reported.name, &outcome);
        self.tally.add(outcome, &mut |_| u64::MAX);
        logged
    }

    fn finish(mut self: Box<Self>, ending: MirrorEnding<'_>) -> Result<(), Box<dyn Error>> {
        let unmeasured = ending.unmeasured;
        self.account.without_production = unmeasured.without_production;
        self.account.unmeasured += unmeasured.behind + unmeasured.failed;
        self.account.late_p99_ms = ending.late_p99_us.map(milliseconds);
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        if self.requests > 0 {
            self.account.behind_mean_ms = milliseconds(self.behind_us) / self.requests as f64;
        }
        let mut measured = self.measured();
        let name = measured.run.summary.name.clone();
        let runs = [std::mem::take(&mut measured.sample)];
        let twins = measured.recorded.as_mut();
        let twins = twins.map(|recorded| [std::mem::take(&mut recorded.sample)]);
        let gaps = |name: &str, sample: &RunSample| RunGaps::of(name, 0, sample);
        let felt = twins.iter().flatten().map(|twin| gaps(RECORDED, twin));
        let gaps: Vec<RunGaps> = felt.chain([gaps(&name, &runs[0])]).flatten().collect();
        let scaling = Scaling::default();
        let options = CompareOptions {
            live: true,
            ..CompareOptions::default()
        };
        let mut played = join(std::iter::once(vec![measured]), &options, None, scaling);
        // Whole but for the comparison, which takes seconds of a processor that may not be there: whoever ended the recorder may not wait.
        played.comparison.clear();
        let (charts, histograms) = (played.charts(), std::mem::take(&mut played.histograms));
        let mut document = self.document(played);
        let (out, logged) = self.place.close()?;
        out.write(&document, &charts, &histograms, Some(&gaps))?;
        logged?;
        (ending.is_whole)();
        if let Some(twins) = twins {
            let target = Side {
                name: &name,
                runs: &runs,
            };
            let compared = compare_with_recorded(&twins, target, scaling, &options);
            document.comparison.push(compared);
            out.write_verdict(&document, &charts)?;
        }
        tracing::info!(report = %out.path().join("report.html").display(), "the mirror's result");
        Ok(())
    }
}

/// The day, in UTC, as the moment at which it began.
fn today() -> String {
    let now_s = jiff::Timestamp::now().as_second();
    let day = jiff::Timestamp::from_second(now_s - now_s.rem_euclid(86_400));
    day.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Divided once, so that it has no digits beyond the microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1e3
}

/// What the figures of production are.
const LIVE: &str =
    "what production's clients felt at the same requests, without what they took to send them";

/// Its prompts are production's own, so that tokens are off only where the candidate counts otherwise; and it keeps no schedule. The mirror
/// runs below the priority of traffic, and may wait for a busy processor.
const BAR: FidelityBar = FidelityBar {
    lateness: std::time::Duration::from_millis(50),
    lateness_of_ttft: 0.05,
    cpu_share: 1.0,
    prompt_tokens_error: 1.0,
    prefix_share_error: 1.0,
    ks_distance: 1.0,
};

/// Of one result: its log grows by some sixty bytes for each.
const MOST_REQUESTS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::outcome::tests::mirrored;
    use super::*;
    use crate::record::{CandidateSide, Unmeasured};
    use crate::report::read_requests;

    #[test]
    fn what_was_not_sent_counts_as_failed_and_makes_the_result_invalid() {
        let dir = tempfile::tempdir().unwrap();
        let reported = MirrorReported {
            name: "next".to_owned(),
            url: "http://next".to_owned(),
            model: None,
            share: 0.5,
            wall_clock: false,
            command: None,
        };
        let mut report = MirrorReport::begin(dir.path(), reported).unwrap();
        for index in 0..12 {
            let mut one = mirrored();
            one.index = index;
            if index > 9 {
                one.candidate = CandidateSide {
                    lost: Some(MirrorLost::Busy),
                    end_us: one.offered_us,
                    ..CandidateSide::default()
                };
            }
            // Of ten bytes in 10 ms nothing was slow; this one's client was.
            if index == 0 {
                let answer = &mut one.production.response;
                (answer.first_byte_us, answer.bytes) = (Some(4_000), 10);
                answer.reader_wait_us = Some(25_000);
            }
            assert!(report.add(one));
        }
        let whole = std::cell::Cell::new(false);
        let ending = MirrorEnding {
            unmeasured: Unmeasured {
                without_production: 3,
                behind: 0,
                failed: 2,
            },
            late_p99_us: Some(2_500),
            is_whole: &|| whole.set(true),
        };
        Box::new(report).finish(ending).unwrap();
        assert!(whole.get());

        let out = dir.path().join("mirror-000001");
        let text = std::fs::read(out.join("result.json")).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        let [next, recorded] = &document["targets"].as_array().unwrap()[..] else {
            panic!("{document:#}");
        };
        assert_eq!(next["requests"]["ok"], 10);
        assert_eq!(next["requests"]["errors"]["dropped"], 2);
        assert_eq!(recorded["requests"]["ok"], 12);
        assert_eq!(document["mirror"]["dropped"]["busy"], 2);
        assert_eq!(document["mirror"]["without_production"], 3);
        assert_eq!(document["mirror"]["behind_mean_ms"], 1.0);
        assert_eq!(document["mirror"]["unmeasured"], 2);
        assert_eq!(document["mirror"]["slow_readers"], 1);
        assert_eq!(document["mirror"]["late_p99_ms"], 2.5);
        assert_eq!(document["verdict"]["status"], "invalid");
        assert_eq!(document["comparison"][0]["baseline"], RECORDED);
        // There is no trace that it could speak of.
        for name in ["report.html", "summary.md", "junit.xml"] {
            let text = std::fs::read_to_string(out.join(name)).unwrap();
            assert!(text.contains("this live traffic alone"), "{name}");
            assert!(!text.contains("this trace"), "{name}");
        }
        let log = out.join("requests.jsonl.zst");
        let requests = read_requests(&log).unwrap();
        assert_eq!(requests.filter(Result::is_ok).count(), 12);
    }
}
