use serde::Serialize;

use super::shape::Shape;
use super::shard::Shard;
use crate::shape::TraceTime;

/// Which part of a trace is replayed, how fast, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlanOptions {
    /// Conversations are kept whole: a slice takes those that *begin* in it, and their later turns keep their distance from the
    /// first one whatever becomes of the arrivals. Otherwise each request stands for itself.
    pub by_session: bool,
    /// Divides every gap between arrivals (with `by_session`: between the beginnings of conversations).
    pub speed: f64,
    /// Divides think times, too.
    pub speed_think: bool,
    /// Arrivals from this moment of the trace on.
    pub from_us: Option<u64>,
    /// Arrivals before this moment of the trace.
    pub to_us: Option<u64>,
    /// No request (with `by_session`: no conversation) begins after this many requests.
    pub limit: Option<u64>,
    /// This many times as many conversations; a lone request counts as one.
    pub rate_scale: f64,
    /// Each conversation of a copy is moved in time by at most this much, in microseconds of the trace.
    pub copy_shift_us: u64,
    /// The trace again and again for this long, in microseconds of the run.
    pub loop_for_us: Option<u64>,
    /// Each pass of a loop has words of its own where a copy would, so that it finds no cache that the pass before filled.
    pub fresh_passes: bool,
    /// How the rate of arrivals goes over the run.
    pub shape: Option<Shape>,
    /// The part of the plan that this process sends.
    pub shard: Option<Shard>,
    /// Which conversations are kept or copied, and where copies are moved.
    pub seed: u64,
    /// What prompts whose tokens were only estimated are counted by: bytes that make a token. Prompts that share a beginning
    /// must agree on its tokens, so an estimate has to go by the ratio of those that were counted.
    pub bytes_per_token: Option<f64>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            by_session: false,
            speed: 1.0,
            speed_think: false,
            from_us: None,
            to_us: None,
            limit: None,
            rate_scale: 1.0,
            copy_shift_us: Self::COPY_SHIFT_US,
            loop_for_us: None,
            fresh_passes: true,
            shape: None,
            shard: None,
            seed: 0,
            bytes_per_token: None,
        }
    }
}

impl PlanOptions {
    /// Five minutes: far enough that copies of a burst do not fall on it, near enough that they stay in the same hour of the day.
    pub const COPY_SHIFT_US: u64 = 300_000_000;

    /// The moment before which nothing of the trace is needed. Which conversations began before a slice is only known from the
    /// beginning.
    pub fn from(&self) -> TraceTime {
        TraceTime::from_us(match self.by_session {
            true => 0,
            false => self.from_us.unwrap_or(0),
        })
    }

    /// What think times are divided by.
    pub(super) fn think_speed(&self) -> f64 {
        if self.speed_think { self.speed } else { 1.0 }
    }

    /// Whether requests come out of the trace in the order in which they are sent.
    pub(super) fn keeps_order(&self) -> bool {
        let turns_keep_step =
            self.speed == 1.0 && self.shape.is_none() && self.loop_for_us.is_none();
        self.rate_scale <= 1.0 && (!self.by_session || turns_keep_step)
    }

    /// Whether the slice has to be read beforehand to plan it: where it ends, and which blocks its conversations share.
    pub(super) fn needs_extent(&self) -> bool {
        !self.keeps_order() || self.shape.is_some() || self.loop_for_us.is_some()
    }

    /// How the number of conversations was changed, as half a sentence; `None` where it was not. The method belongs to any figure
    /// of memory: on bursty traffic the peak of KV tokens differs up to six-fold between methods.
    pub fn method(&self) -> Option<String> {
        let rate = self.rate_scale;
        let thinned = "chosen by a hash of the seed and the session, so that a smaller share is part of a larger one";
        if rate == 1.0 {
            return None;
        }
        if rate < 1.0 {
            let percent = rate * 100.0;
            return Some(
                format!("{percent:.4} % of the sessions, whole, {thinned}")
                    .replace(".0000 %", " %"),
            );
        }
        let copies = rate.floor() - 1.0;
        let whole = match copies {
            0.0 => None,
            1.0 => Some("a whole copy".to_owned()),
            _ => Some(format!("{copies:.0} whole copies")),
        };
        let part = match rate.fract() {
            0.0 => None,
            part => Some(format!("one of {:.1} % of them, {thinned}", part * 100.0)),
        };
        let added: Vec<String> = whole.into_iter().chain(part).collect();
        let added = added.join(" and ");
        #[allow(clippy::cast_precision_loss, reason = "for display")]
        let shift_s = self.copy_shift_us as f64 / 1e6;
        Some(format!(
            "the trace's own and {added}; each session of a copy is moved by up to {shift_s} s either way; blocks that only one session \
             used have words of their own in each copy, blocks that several used are shared by all"
        ))
    }
}
