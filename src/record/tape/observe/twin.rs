//! What is said does not reach the file: workloads that differ in every text and agree in lengths and in what repeats what
//! give the same bytes, and so do two keys. Everything is real but the sockets and the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::assembly::{Assembly, Desk};
use crate::anonymise::{Anonymiser, ChainKey, ConversationKey, Gaps, Lengths, Policy};
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::record::tape::parcel::{Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel};
use crate::shape::{BlockSpec, Method, TraceTime};
use crate::trace::{Header, Source, TraceWriter, WriterOptions};

/// A text as classes of characters that are as long as each other, in JSON and out of it, and places in them.
pub(super) type Text = Vec<(usize, usize)>;

/// Each class in an order; a twin turns all of them by some steps.
const CLASSES: [&str; 5] = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:!?",
    "0123456789",
    "\n\t\"\\",
    "äöüßéñøåΩжш",
    "😀🦀🐍🦉",
];

/// What the twins say: the same texts, with every character another one of its class.
fn said(text: &Text, turn: usize) -> String {
    text.iter()
        .filter_map(|&(class, place)| {
            let class = CLASSES[class];
            class.chars().nth((place + turn) % class.chars().count())
        })
        .collect()
}

/// One exchange, without what is said in it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    api: usize,
    streamed: bool,
    /// Texts, by number.
    model: usize,
    pub(super) prompt: Vec<(usize, usize)>,
    tools: Vec<usize>,
    pub(super) answer: Vec<usize>,
    usage: bool,
    end: usize,
    /// It is in flight for so long that the file holds it as that, and a second time once it has ended.
    long: bool,
    /// It is the first on its client's connection.
    begins: bool,
    /// Its client names the conversation in a header, by this text.
    session: Option<usize>,
    /// Microseconds: since the arrival before, and between the pieces of the answer.
    wait_us: u64,
    gaps_us: Vec<u64>,
    /// How the request is cut into reads.
    read: usize,
}

/// The model of the tensors has a name that no text is.
const PATHS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/v2/models/m-1/infer",
    "/generate",
    "/v1/embeddings",
    "/api/chat",
    "/v1/responses",
];

impl Plan {
    fn request(&self, texts: &[String]) -> String {
        let text = |number: usize| texts[number % texts.len()].clone();
        let turns: Vec<Value> = self
            .prompt
            .iter()
            .map(|&(role, number)| {
                let role = ["user", "assistant"][role % 2];
                json!({"role": role, "content": text(number)})
            })
            .collect();
        let tools = |form: fn(String) -> Value| -> Vec<Value> {
            self.tools.iter().map(|&tool| form(text(tool))).collect()
        };
        let mut body =
            json!({"model": text(self.model), "stream": self.streamed, "max_tokens": 50});
        match self.api {
            0 => {
                body["messages"] = turns.into();
                body["tools"] = tools(|text| json!({"type": "function", "function": {"name": "f", "description": text}})).into();
                body["stop"] = json!([text(self.model + 1)]);
                body["stream_options"] = json!({"continuous_usage_stats": self.usage});
                body["return_token_ids"] = self.begins.into();
            }
            1 => {
                let prompts: Vec<_> = self
                    .prompt
                    .iter()
                    .map(|&(_, number)| text(number))
                    .collect();
                body["prompt"] = prompts.into();
            }
            3 => {
                let tensor = |&(rank, number): &(usize, usize)| json!({"name": text(self.model), "datatype": text(self.model), "shape": vec![number; rank], "data": [text(number)]});
                body["inputs"] = self.prompt.iter().map(tensor).collect();
            }
            4 => {
                body["inputs"] = text(self.model + 2).into();
                body["parameters"] = json!({"adapter_id": text(self.model)});
            }
            5 => {
                let texts: Vec<_> = self.prompt.iter().map(|&(_, it)| text(it)).collect();
                body["input"] = texts.into();
                body["dimensions"] = self.read.into();
                body["encoding_format"] = text(self.model + 1).into();
            }
            6 => {
                body["messages"] = turns.into();
                body["options"] = json!({"num_ctx": self.read});
            }
            7 => {
                let items = self
                    .prompt
                    .iter()
                    .map(|&(_, it)| json!({"role": "user", "content": text(it)}));
                body["input"] = items.collect();
                let kept = ["conversation", "previous_response_id"][self.end % 2];
                body[kept] = text(self.model + 1).into();
            }
            _ => {
                let marked = json!({"type": "ephemeral", "ttl": text(self.model + 1)});
                body["system"] = json!([{"type": "text", "text": text(self.model + 2), "cache_control": marked}]);
                body["messages"] = turns.into();
                body["tools"] = tools(|text| json!({"name": "f", "description": text, "input_schema": {}, "cache_control": {"ttl": text}})).into();
            }
        }
        body.to_string()
    }

    /// The pieces of the answer, as they arrive.
    fn response(&self, texts: &[String]) -> Vec<String> {
        let parts = self
            .answer
            .iter()
            .map(|&number| &texts[number % texts.len()]);
        let tokens = u32::try_from(self.answer.len()).unwrap();
        if !self.streamed {
            let whole: String = parts.cloned().collect();
            let mut body = match self.api {
                0 => json!({"choices": [{"message": {"content": whole}, "finish_reason": "stop"}]}),
                1 => json!({"choices": [{"text": whole, "finish_reason": "length"}]}),
                _ => {
                    json!({"content": [{"type": "text", "text": whole}], "stop_reason": "end_turn"})
                }
            };
            if self.usage {
                body["usage"] = match self.api {
                    2 => json!({"input_tokens": 7, "output_tokens": tokens}),
                    _ => json!({"prompt_tokens": 7, "completion_tokens": tokens}),
                };
            }
            return vec![body.to_string()];
        }
        let event = |data: Value| format!("data: {data}\n\n");
        let mut pieces: Vec<_> = parts
            .map(|text| match self.api {
                0 => event(json!({"choices": [{"index": 0, "delta": {"content": text}}]})),
                1 => event(json!({"choices": [{"text": text}]})),
                _ => event(json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})),
            })
            .collect();
        pieces.push(match self.api {
            2 => event(json!({"type": "message_stop"})),
            _ => "data: [DONE]\n\n".to_owned(),
        });
        pieces
    }
}

/// The bytes of the trace that these exchanges leave, with every text turned.
pub(super) fn trace_of(
    plans: &[Plan],
    texts: &[Text],
    turn: usize,
    policy: &Policy,
    key: ChainKey,
) -> Vec<u8> {
    let texts: Vec<_> = texts.iter().map(|text| said(text, turn)).collect();
    trace_of_said(plans, &texts, BlockSpec::LIVE, policy, key)
}

/// The bytes of the trace that these exchanges leave, with these texts.
pub(super) fn trace_of_said(
    plans: &[Plan],
    texts: &[String],
    block: BlockSpec,
    policy: &Policy,
    key: ChainKey,
) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let header = Header {
        tool: "0.1.0".into(),
        source: Source::Recorded,
        block: Some(block),
        epoch_unix_us: None,
        run: 7,
        sample_ppm: 1_000_000,
        policy: Some(policy.clone()),
        envelope: None,
    };
    let mut gate = Anonymiser::with_key(policy.clone(), key);
    let mut writer = TraceWriter::create(&path, &header, WriterOptions::default()).unwrap();
    let capture = Arc::new(Capture::new(
        64 << 20,
        1 << 20,
        Arc::new(Accounts::default()),
    ));
    let mut desk = Desk::new(Arc::clone(&capture), policy.gaps == Gaps::Full);
    let sessions = ConversationKey::random().unwrap();
    let epoch = Instant::now();
    let mut at_us = 0;
    for (number, plan) in (1_u64..).zip(plans) {
        at_us += plan.wait_us;
        let arrived = epoch + Duration::from_micros(at_us);
        let mut assembly = Assembly::default();
        let (mut asked, mut answered) = parcels_of(plan, texts, &sessions, &capture, arrived);
        assert!(assembly.take(&mut asked, gate.key(), &mut desk));
        if plan.long {
            let now = arrived + Duration::from_secs(2);
            let announced = assembly.announce(1, now, Duration::from_secs(1), epoch);
            let (recordable, disguise) = gate.announce(announced.unwrap().0);
            assembly.is_disguised(disguise);
            writer.open(number, recordable);
            writer.flush().unwrap();
        }
        assert!(assembly.take(&mut answered, gate.key(), &mut desk));
        let finished = assembly.finish(TraceTime::from_us(at_us), &capture.ledger);
        writer.close(number, gate.admit(finished.sighting)).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// What is known of an exchange once it has been asked, and the rest.
fn parcels_of(
    plan: &Plan,
    texts: &[String],
    sessions: &ConversationKey,
    capture: &Capture,
    arrived: Instant,
) -> (Box<Parcel>, Box<Parcel>) {
    let (mut asked, _) = capture.parcel(1, arrived);
    let content_type = match plan.streamed {
        true => "text/event-stream",
        false => "application/json",
    };
    // A tenant's name in the path is text, too.
    let tenant: String = texts[0]
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let path = format!("/{tenant}{}", PATHS[plan.api]);
    asked.opening = Some(Opening {
        method: Method::Post,
        path_len: path.len(),
        encoding_len: 0,
        json: true,
        in_flight: 1,
        probe: false,
        conversation: (plan.session).map(|it| sessions.named(texts[it % texts.len()].as_bytes())),
        new_connection: plan.begins,
    });
    asked.head = Some(Head {
        at_us: 50,
        status: [200, 200, 200, 429][plan.end % 4],
        type_len: content_type.len(),
        encoding_len: 0,
        simulated: false,
    });
    asked.texts.extend_from_slice(path.as_bytes());
    asked.texts.extend_from_slice(content_type.as_bytes());
    let put = |parcel: &mut Parcel, at_us, kind: fn(Kept) -> MarkKind, bytes: &[u8]| {
        let kept = parcel.copy(bytes, std::slice::from_ref(&(0..bytes.len())));
        parcel.marks.push(Mark {
            at_us,
            len: u32::try_from(bytes.len()).unwrap(),
            kind: kind(kept),
        });
    };
    let request = plan.request(texts);
    for read in request.as_bytes().chunks(plan.read) {
        put(&mut asked, 10, MarkKind::Upload, read);
    }
    asked.marks.push(Mark {
        at_us: 10,
        len: 0,
        kind: MarkKind::UploadEnd,
    });
    let (mut answered, _) = capture.parcel(1, arrived);
    let mut now_us = 60;
    for (piece, gap_us) in plan.response(texts).iter().zip(plan.gaps_us.iter().cycle()) {
        now_us += gap_us;
        put(&mut answered, now_us, MarkKind::Data, piece.as_bytes());
    }
    answered.closing = Some(Closing {
        at_us: now_us + 5,
        end: [End::Whole, End::ClientCancelled, End::Reset, End::Whole][plan.end % 4],
        answered: None,
    });
    (asked, answered)
}

fn texts() -> impl Strategy<Value = Vec<Text>> {
    let character = (0..CLASSES.len(), 0..60_usize);
    // Mostly letters, as texts are.
    let character = prop_oneof![5 => (Just(0), 0..60_usize), 1 => character];
    prop::collection::vec(prop::collection::vec(character, 0..300), 1..8)
}

pub(super) fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let number = 0..8_usize;
    let shape = (
        0..PATHS.len(),
        any::<bool>(),
        number.clone(),
        any::<bool>(),
        0..4_usize,
        any::<bool>(),
        any::<bool>(),
        prop::option::of(number.clone()),
    );
    let said = (
        prop::collection::vec((0..2_usize, number.clone()), 1..6),
        prop::collection::vec(number.clone(), 0..3),
        prop::collection::vec(number, 0..12),
    );
    let times = (
        0..5_000_000_u64,
        prop::collection::vec(0..200_000_u64, 1..12),
        1..3000_usize,
    );
    let plan = (shape, said, times).prop_map(|(shape, said, times)| {
        let (api, streamed, model, usage, end, long, begins, session) = shape;
        let (prompt, tools, answer) = said;
        let (wait_us, gaps_us, read) = times;
        Plan {
            api,
            streamed,
            model,
            prompt,
            tools,
            answer,
            usage,
            end,
            long,
            begins,
            session,
            wait_us,
            gaps_us,
            read,
        }
    });
    prop::collection::vec(plan, 1..12)
}

pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let lengths = prop_oneof![
        Just((Lengths::Exact, Gaps::Sketch)),
        Just((Lengths::Exact, Gaps::Full)),
        Just((Lengths::Log, Gaps::Sketch)),
        (2..500_u32).prop_map(|step| (Lengths::Steps(step), Gaps::Sketch))
    ];
    (lengths, 0..1_000_000_u64, 0..1_000_000_u64).prop_map(|(lengths, jitter, shift)| Policy {
        lengths: lengths.0,
        gaps: lengths.1,
        time_jitter_us: jitter,
        time_shift_us: shift,
        ..Policy::default()
    })
}

pub(super) const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn twins_that_say_other_things_leave_the_same_bytes(
        plans in plans(), texts in texts(), turn in 1..58_usize, policy in policies()
    ) {
        let first = trace_of(&plans, &texts, 0, &policy, KEY);
        prop_assert!(trace_of(&plans, &texts, turn, &policy, KEY) == first);
    }

    #[test]
    fn the_key_leaves_no_trace(plans in plans(), texts in texts(), key in any::<[u8; 16]>()) {
        let policy = Policy::default();
        let first = trace_of(&plans, &texts, 0, &policy, KEY);
        prop_assert!(trace_of(&plans, &texts, 0, &policy, ChainKey::from_bytes(key)) == first);
    }
}

/// A chat of this many characters a turn, streamed in as many tokens.
pub(super) fn chat(turns: usize, wait_us: u64, gap_us: u64) -> Plan {
    Plan {
        api: 0,
        streamed: true,
        model: 0,
        prompt: (0..turns).map(|turn| (turn, turn + 1)).collect(),
        tools: Vec::new(),
        answer: vec![0; 40],
        usage: true,
        end: 0,
        long: false,
        begins: turns == 1,
        session: None,
        wait_us,
        gaps_us: (1..12).map(|i| gap_us * (10 + i % 5)).collect(),
        read: 4096,
    }
}

#[test]
fn what_is_the_same_and_what_is_not_shows() {
    // Without this the twins could agree because nothing is recorded at all.
    let letters =
        |length: usize, first: usize| -> Text { (0..length).map(|i| (0, first + i)).collect() };
    let texts = [letters(10, 0), letters(200, 1), letters(300, 2)];
    let plans = [chat(1, 10, 1000), chat(2, 10, 1000)];
    let usual = trace_of(&plans, &texts, 0, &Policy::default(), KEY);
    let longer = [letters(10, 0), letters(201, 1), letters(300, 2)];
    assert_ne!(trace_of(&plans, &longer, 0, &Policy::default(), KEY), usual);
    let unshared = [
        plans[0].clone(),
        Plan {
            prompt: vec![(0, 2), (1, 2)],
            ..plans[1].clone()
        },
    ];
    assert_ne!(
        trace_of(&unshared, &texts, 0, &Policy::default(), KEY),
        usual
    );
    let later = [plans[0].clone(), chat(2, 11, 1000)];
    assert_ne!(trace_of(&later, &texts, 0, &Policy::default(), KEY), usual);
    // So does the shape of a tensor whose data are the same.
    let infer = |number| Plan {
        api: 3,
        prompt: vec![(1, number)],
        ..plans[0].clone()
    };
    let of = |plan| trace_of(&[plan], &texts, 0, &Policy::default(), KEY);
    assert_ne!(of(infer(1)), of(infer(1 + texts.len())));
    // So do the numbers that a request asks for.
    let vectors = |read| Plan {
        api: 5,
        read,
        ..plans[0].clone()
    };
    assert_ne!(of(vectors(256)), of(vectors(512)));
    // So does a conversation that a header names.
    let named = |session| [chat(1, 10, 1000), chat(1, 10, 1000)].map(|it| Plan { session, ..it });
    let of_both = |plans: [Plan; 2]| trace_of(&plans, &texts, 0, &Policy::default(), KEY);
    assert_ne!(of_both(named(Some(1))), of_both(named(None)));
    // One in flight for long is in the file twice.
    let long = Plan {
        long: true,
        ..plans[1].clone()
    };
    let twice = trace_of(
        &[plans[0].clone(), long],
        &texts,
        0,
        &Policy::default(),
        KEY,
    );
    assert!(twice.len() > usual.len() + 100);
}
