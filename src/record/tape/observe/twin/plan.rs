//! Workloads without what is said in them, and the policies that they are recorded under.

use proptest::prelude::*;

use super::api::Api;
use crate::anonymise::{Gaps, Keys, Lengths, Policy};

/// One exchange, without what is said in it. Texts are told by number.
#[derive(Debug, Clone)]
pub(in super::super) struct Plan {
    pub(in super::super) api: Api,
    pub(super) streamed: bool,
    pub(super) model: usize,
    /// Who says what: 0 asks, 1 answers.
    pub(in super::super) prompt: Vec<(usize, usize)>,
    /// The picture that those who ask show.
    pub(super) pictured: Option<usize>,
    pub(super) tools: Vec<usize>,
    pub(in super::super) answer: Vec<usize>,
    /// The answer that it goes on from, where its API has such.
    pub(super) follows: Option<usize>,
    /// The conversation that its client names in a header.
    pub(super) session: Option<usize>,
    pub(super) usage: bool,
    /// Its bodies are packed.
    pub(super) coded: bool,
    pub(super) end: usize,
    /// It is in flight for so long that the file holds it as that, and a second time once it has ended.
    pub(super) long: bool,
    /// It is the first on its client's connection.
    pub(super) begins: bool,
    /// Microseconds: since the arrival before, and between the pieces of the answer.
    pub(super) wait_us: u64,
    pub(super) gaps_us: Vec<u64>,
    /// And for which the answer waited for its client.
    pub(super) reader_wait_us: u64,
    /// How the request is cut into reads.
    pub(super) read: usize,
}

/// How models are called whose names a policy lets stand in the trace: the twins call them alike, or the trace would tell them apart,
/// as it is to. No text begins so.
pub(super) const TOLD: &str = "llama-";
const TOLD_MODELS: usize = 3;

impl Plan {
    /// What its model is called under a policy. One that lets names stand once they are seen often tells all of them.
    pub(super) fn model(&self, texts: &[String], policy: &Policy) -> String {
        let listed = !policy.keep_models.is_empty() && self.model < TOLD_MODELS;
        match listed || policy.name_threshold > 0 {
            true => format!("{TOLD}{}", self.model),
            false => texts[self.model % texts.len()].clone(),
        }
    }

    /// The conversation that its client names. Which ones are left out is drawn by name, so that the twins that are to leave out the
    /// same ones call them alike.
    pub(super) fn session(&self, texts: &[String], policy: &Policy) -> Option<String> {
        match (self.session, policy.dropped_sessions_ppm) {
            (session, 0) => session.map(|number| texts[number % texts.len()].clone()),
            (session, _) => Some(format!("session {}", session.unwrap_or(0))),
        }
    }
}

pub(in super::super) fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let number = 0..8_usize;
    let shape = (
        0..Api::ALL.len(),
        any::<bool>(),
        number.clone(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        0..4_usize,
        any::<bool>(),
        any::<bool>(),
    );
    let said = (
        prop::collection::vec((0..2_usize, number.clone()), 1..6),
        prop::option::weighted(0.3, number.clone()),
        prop::collection::vec(number.clone(), 0..3),
        prop::collection::vec(number.clone(), 0..12),
        prop::option::of(number.clone()),
        prop::option::weighted(0.3, number),
    );
    let times = (
        0..5_000_000_u64,
        prop::collection::vec(0..200_000_u64, 1..12),
        0..5_000_000_u64,
        1..3000_usize,
    );
    let plan = (shape, said, times).prop_map(|(shape, said, times)| {
        let (api, streamed, model, usage, coded, end, long, begins) = shape;
        let (prompt, pictured, tools, answer, follows, session) = said;
        let (wait_us, gaps_us, reader_wait_us, read) = times;
        Plan {
            api: Api::ALL[api],
            streamed,
            model,
            prompt,
            pictured,
            tools,
            answer,
            follows,
            session,
            usage,
            coded,
            end,
            long,
            begins,
            wait_us,
            gaps_us,
            reader_wait_us,
            read,
        }
    });
    prop::collection::vec(plan, 1..12)
}

pub(in super::super) fn policies() -> impl Strategy<Value = Policy> {
    let lengths = prop_oneof![
        Just((Lengths::Exact, Gaps::Sketch)),
        Just((Lengths::Exact, Gaps::Full)),
        Just((Lengths::Log, Gaps::Sketch)),
        (2..500_u32).prop_map(|step| (Lengths::Steps(step), Gaps::Sketch))
    ];
    let names = prop_oneof![
        2 => Just((false, 0)),
        1 => Just((true, 0)),
        1 => (any::<bool>(), 1..4_u32),
    ];
    let keys = prop_oneof![3 => Just(Keys::PerFile), 1 => Just(Keys::Operator)];
    let dropped = prop_oneof![3 => Just(0), 1 => 1..1_000_000_u32];
    let times = (0..1_000_000_u64, 0..1_000_000_u64);
    let drawn = (lengths, names, keys, dropped, times);
    drawn.prop_map(|(lengths, names, keys, dropped, times)| Policy {
        keep_models: (0..TOLD_MODELS)
            .filter(|_| names.0)
            .map(|model| format!("{TOLD}{model}"))
            .collect(),
        name_threshold: names.1,
        keys,
        lengths: lengths.0,
        gaps: lengths.1,
        time_jitter_us: times.0,
        time_shift_us: times.1,
        dropped_sessions_ppm: dropped,
        ..Policy::default()
    })
}

/// A chat of this many characters a turn, streamed in as many tokens.
pub(in super::super) fn chat(turns: usize, wait_us: u64, gap_us: u64) -> Plan {
    Plan {
        api: Api::Chat,
        streamed: true,
        model: 0,
        prompt: (0..turns).map(|turn| (turn % 2, turn + 1)).collect(),
        pictured: None,
        tools: Vec::new(),
        answer: vec![0; 40],
        follows: None,
        session: None,
        usage: true,
        coded: false,
        end: 0,
        long: false,
        begins: turns == 1,
        wait_us,
        gaps_us: (1..12).map(|i| gap_us * (10 + i % 5)).collect(),
        reader_wait_us: 0,
        read: 4096,
    }
}
