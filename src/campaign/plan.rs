//! The plan in words and in the result.

use super::Campaign;
use super::audience::Audience;
use super::survey::{Survey, seconds, skip_words};
use crate::replay::{Cache, PlanOptions, PlanSummary, Readers, SessionMode};
use crate::report::{PlanAccount, ReadRateAccount, ShardAccount, SliceAccount};
use crate::wording::{counted, counted_are};

impl Campaign {
    /// Tells what will be sent.
    pub fn announce(&self, survey: &Survey, audience: &dyn Audience) {
        let lines = self.describe(survey);
        lines.iter().for_each(|line| audience.say(line));
        survey
            .remarks
            .iter()
            .for_each(|remark| audience.say(&format!("warning: {remark}")));
    }

    /// What will be sent, a line for each thing to know of it.
    pub fn describe(&self, survey: &Survey) -> Vec<String> {
        let mut lines = survey.describe();
        lines.extend(self.describe_connections(survey));
        lines.extend(self.describe_readers(survey));
        lines
    }

    /// The plan as the result has it.
    pub fn plan_account(&self, survey: &Survey) -> PlanAccount {
        let options = survey.layout.options();
        let plan = &survey.plan;
        PlanAccount {
            speed: options.speed,
            speed_think: options.speed_think,
            rate_scale: options.rate_scale,
            sessions: self.sessions(survey).name().to_owned(),
            method: options.method(),
            shape: options.shape.map(|shape| shape.to_string()),
            loop_for_s: options.loop_for_us.map(seconds),
            slice: slice(options),
            shard: options.shard.map(|shard| ShardAccount {
                index: shard.index(),
                count: shard.count(),
            }),
            start_at: self
                .run
                .start_at
                .and_then(|moment| jiff::Timestamp::try_from(moment).ok())
                .map(|moment| moment.to_string()),
            connections: Some(self.connections_account(survey)),
            readers: self.readers_mode(survey),
            slow_readers: plan.tells_readers().then_some(plan.slow_readers),
            read_rate: match self.run.readers {
                Readers::Drawn(rate) => Some(ReadRateAccount {
                    bytes_per_s: rate.bytes_per_s,
                    share: rate.share,
                }),
                Readers::AsRecorded | Readers::Fast => None,
            },
            seed: options.seed,
            words_seed: Some(self.run.words_seed).filter(|&words| words != options.seed),
            planned: plan.planned,
            conversations: plan.sessions,
            lone: plan.lone,
            peak_in_flight: plan.peak_in_flight,
            arrivals: survey.arrivals,
            span_s: seconds(plan.span_us),
            skipped: plan
                .skipped
                .iter()
                .map(|(&reason, &n)| (skip_words(reason).to_owned(), n))
                .collect(),
        }
    }

    /// A plan's options with what the run decides: its seed, whether conversations are kept whole, and whether passes may find
    /// each other's prompts in a cache.
    pub(super) fn resolved(&self, plan: PlanOptions) -> PlanOptions {
        PlanOptions {
            by_session: self.run.sessions != SessionMode::Independent,
            fresh_passes: self.run.cache == Cache::Fresh,
            seed: self.run.seed,
            ..plan
        }
    }

    /// How conversations are replayed, where there are any.
    fn sessions(&self, survey: &Survey) -> SessionMode {
        if survey.plan.later_turns > 0 {
            self.run.sessions
        } else {
            SessionMode::Independent
        }
    }
}

impl Survey {
    /// The plan, a line for each thing to know of it.
    fn describe(&self) -> Vec<String> {
        let options = self.layout.options();
        let mut lines = vec![requests(&self.plan, options)];
        lines.extend(options.method().map(|method| {
            let blocks = self.layout.blocks();
            let blocks = blocks.filter(|_| options.rate_scale > 1.0);
            let blocks = blocks.map_or_else(String::new, |(own, shared)| {
                format!(" ({own} blocks of one session, {shared} of several)")
            });
            format!("{}× the sessions: {method}{blocks}", options.rate_scale)
        }));
        lines.extend(options.shape.map(|shape| {
            format!(
                "the rate of arrivals goes by {shape} over the run; no request is added for that"
            )
        }));
        lines.extend(options.loop_for_us.map(|us| {
            let cache = match options.fresh_passes {
                true => Cache::Fresh,
                false => Cache::Keep,
            };
            format!(
                "the trace again and again for {} s, {}",
                seconds(us),
                passes_words(cache)
            )
        }));
        lines.extend(options.shard.map(|shard| {
            format!("shard {shard}: what of the plan this process sends (counts are of it alone)")
        }));
        lines.push(self.load());
        let skipped = self.plan.skipped.iter();
        lines.extend(skipped.map(|(&reason, &n)| {
            let are = counted_are(n, "exchange");
            format!("{are} not replayed: {}", skip_words(reason))
        }));
        lines
    }

    /// Sessions, requests open at once, burstiness.
    fn load(&self) -> String {
        let plan = &self.plan;
        let mut parts = vec![format!(
            "{} and {} without one",
            counted(plan.sessions, "session"),
            counted(plan.lone, "request")
        )];
        if let Some(peak) = plan.peak_in_flight {
            parts.push(format!(
                "at most {peak} open at once if each takes as long as recorded"
            ));
        }
        let arrivals = &self.arrivals;
        if let Some(peak) = arrivals.peak_1s_per_s {
            parts.push(format!("{peak:.0} in the busiest second"));
        }
        let dispersion = [(1, arrivals.dispersion_1s), (10, arrivals.dispersion_10s)];
        let told: Vec<String> = dispersion
            .iter()
            .filter_map(|(window, value)| Some(format!("{:.2} ({window} s)", (*value)?)))
            .collect();
        if !told.is_empty() {
            parts.push(format!(
                "dispersion of counts {} (Poisson traffic: 1)",
                told.join(", ")
            ));
        }
        parts.join("; ")
    }
}

/// How the passes of a loop differ.
pub(super) const fn passes_words(cache: Cache) -> &'static str {
    match cache {
        Cache::Fresh => "each pass with words of its own",
        Cache::Keep => "all passes with the same words",
    }
}

fn requests(plan: &PlanSummary, options: &PlanOptions) -> String {
    let rate = plan
        .mean_rate()
        .map_or_else(String::new, |rate| format!(", {rate:.1} a second"));
    let think = if options.speed_think {
        ", think times too"
    } else {
        ""
    };
    let speed = if options.speed == 1.0 {
        "original speed".to_owned()
    } else {
        format!("{}× speed{think}", options.speed)
    };
    format!(
        "{} over {:.1} s at {speed}{rate}; {} prompt and {} output tokens",
        counted(plan.planned, "request"),
        seconds(plan.span_us),
        plan.prompt_tokens,
        plan.output_tokens
    )
}

fn slice(options: &PlanOptions) -> Option<SliceAccount> {
    let slice = SliceAccount {
        by_session: options.by_session,
        from_s: options.from_us.map(seconds),
        to_s: options.to_us.map(seconds),
        limit: options.limit,
    };
    let is_cut = slice.from_s.is_some() || slice.to_s.is_some() || slice.limit.is_some();
    is_cut.then_some(slice)
}
