//! What is said does not reach the file: workloads that differ in every text and agree in lengths and in what repeats what
//! give the same bytes, and so do two keys. Everything is real but the sockets and the clock.

mod api;
mod parcels;
mod plan;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::assembly::{Assembly, Desk};
use crate::anonymise::{Anonymiser, ChainKey, ConversationKey, Gaps, Keys, Policy};
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::shape::{BlockSpec, Endpoint, Exchange, MediaType, ShapeStatus, TraceTime};
use crate::trace::{Header, Source, Trace, TraceWriter, WriterOptions};

use self::api::{Api, Said};
use self::parcels::parcels_of;
use self::plan::Plan;
pub(super) use self::plan::{chat, plans, policies};

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

/// The bytes of the trace that these exchanges leave, with these texts. Under an operator's key, whose numbers go on from file to
/// file, it is two files.
pub(super) fn trace_of_said(
    plans: &[Plan],
    texts: &[String],
    block: BlockSpec,
    policy: &Policy,
    key: ChainKey,
) -> Vec<u8> {
    let mut gate = Anonymiser::with_key(policy.clone(), key);
    let (first, second) = match policy.keys {
        Keys::Operator => plans.split_at(plans.len() / 2),
        _ => plans.split_at(plans.len()),
    };
    let mut clock = Clock::default();
    let mut bytes = file_of(first, texts, block, policy, &mut gate, &mut clock);
    if policy.keys == Keys::Operator {
        gate.begin_file();
        bytes.extend(file_of(second, texts, block, policy, &mut gate, &mut clock));
    }
    bytes
}

/// When the exchanges so far have arrived, and how many there were.
#[derive(Default)]
struct Clock {
    at_us: u64,
    exchanges: u64,
}

/// Names of conversations are told apart by this key in both of the twins, as by a recorder's.
static CONVERSATIONS: LazyLock<ConversationKey> =
    LazyLock::new(|| ConversationKey::random().unwrap());

fn file_of(
    plans: &[Plan],
    texts: &[String],
    block: BlockSpec,
    policy: &Policy,
    gate: &mut Anonymiser,
    clock: &mut Clock,
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
    let mut writer = TraceWriter::create(&path, &header, WriterOptions::default()).unwrap();
    let capture = Arc::new(Capture::new(
        64 << 20,
        1 << 20,
        Arc::new(Accounts::default()),
    ));
    let mut desk = Desk::new(Arc::clone(&capture), policy.gaps == Gaps::Full);
    let epoch = Instant::now();
    for plan in plans {
        clock.at_us += plan.wait_us;
        clock.exchanges += 1;
        let (at_us, number) = (clock.at_us, clock.exchanges);
        let arrived = epoch + Duration::from_micros(at_us);
        let mut assembly = Assembly::default();
        let session = plan.session(texts, policy);
        let conversation = session
            .filter(|name| !name.is_empty())
            .map(|name| CONVERSATIONS.named(name.as_bytes()));
        let share = policy.share_kept(1.0);
        if conversation.is_some_and(|conversation| !conversation.is_sampled(share)) {
            continue;
        }
        let said = Said {
            plan,
            texts,
            model: plan.model(texts, policy),
        };
        let (mut asked, mut answered) = parcels_of(&said, conversation, &capture, arrived);
        assert!(assembly.take(&mut asked, gate.key(), &mut desk));
        if plan.long {
            let now = arrived + Duration::from_secs(2);
            let announced = assembly.announce(1, now, epoch);
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

fn texts() -> impl Strategy<Value = Vec<Text>> {
    let character = (0..CLASSES.len(), 0..60_usize);
    // Mostly letters, as texts are.
    let character = prop_oneof![5 => (Just(0), 0..60_usize), 1 => character];
    prop::collection::vec(prop::collection::vec(character, 0..300), 1..8)
}

pub(super) const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

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

fn letters(length: usize, first: usize) -> Text {
    (0..length).map(|i| (0, first + i)).collect()
}

/// What a file of these exchanges reads as.
fn read(plans: &[Plan], texts: &[Text], policy: &Policy) -> Vec<Exchange> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    std::fs::write(&path, trace_of(plans, texts, 0, policy, KEY)).unwrap();
    let mut trace = Trace::open(&[path]).unwrap();
    trace.exchanges().map(Result::unwrap).collect()
}

#[test]
fn every_dialect_of_the_twins_is_read() {
    // Without this the twins of a dialect could agree because its bodies are of no form that is read.
    let texts = [letters(10, 0), letters(200, 1), letters(300, 2)];
    let read_by_none = |api: &Api| api.endpoint(false) == Endpoint::Other;
    for api in Api::ALL.into_iter().filter(|api| !read_by_none(api)) {
        for (streamed, coded) in [(false, false), (true, false), (false, true), (true, true)] {
            let plan = Plan {
                api,
                streamed,
                coded,
                pictured: Some(1),
                tools: vec![1],
                ..chat(2, 10, 1000)
            };
            let read = read(&[plan], &texts, &Policy::default());
            let (endpoint, exchange) = (api.endpoint(streamed), &read[0]);
            let about = format!("{api:?}, streamed: {streamed}, coded: {coded}: {exchange:?}");
            assert_eq!(exchange.endpoint, endpoint, "{about}");
            assert_eq!(exchange.shape, ShapeStatus::Known, "{about}");
            assert!(exchange.request.rendered_bytes() >= 500, "{about}");
            let has_chain = !matches!(api, Api::Realtime);
            assert_eq!(exchange.request.blocks.len() >= 7, has_chain, "{about}");
            let generates = endpoint.generates();
            let tokens = exchange.response.output_tokens;
            assert_eq!(tokens.is_some(), generates, "{about}");
            let streams = streamed && (generates || api == Api::GrpcInfer);
            assert!(exchange.response.events > 1 || !streams, "{about}");
            let shows = matches!(
                api,
                Api::Chat
                    | Api::Messages
                    | Api::Responses
                    | Api::OllamaChat
                    | Api::Gemini
                    | Api::Cohere
            );
            let pixels = exchange.request.media.first().map(|part| part.pixels);
            assert_eq!(pixels, shows.then_some(Some((64, 48))), "{about}");
            let has_tensors = matches!(api, Api::Infer | Api::GrpcInfer);
            assert_eq!(
                exchange.request.tensors.len(),
                if has_tensors { 2 } else { 0 },
                "{about}"
            );
        }
    }
}

#[test]
fn of_what_no_dialect_reads_the_kind_shows() {
    let texts = [letters(10, 0), letters(200, 1)];
    let plan = Plan {
        api: Api::Other,
        ..chat(1, 10, 1000)
    };
    let read = &read(&[plan], &texts, &Policy::default())[0];
    assert_eq!(read.shape, ShapeStatus::Generic);
    assert_eq!(
        (read.request.media_type, read.response.media_type),
        (MediaType::Other, MediaType::Text)
    );
}

#[test]
fn of_small_frames_of_a_server_only_number_and_sum_show() {
    let said = |answer: &[usize]| Plan {
        api: Api::Realtime,
        prompt: vec![(0, 0)],
        answer: answer.to_vec(),
        ..chat(1, 10, 1000)
    };
    let of = |lengths: [usize; 3], policy: &Policy| {
        let texts = lengths.map(|length| letters(length, 0));
        trace_of(&[said(&[0, 1, 2])], &texts, 0, policy, KEY)
    };
    // The first is what the client says, too.
    for gaps in [Gaps::Sketch, Gaps::Full] {
        let policy = Policy {
            gaps,
            ..Policy::default()
        };
        let words = of([2, 180, 195], &policy);
        assert_eq!(of([2, 195, 180], &policy), words);
        assert_eq!(of([2, 375, 0], &policy), words);
        assert_ne!(of([2, 180, 196], &policy), words, "the sum");
    }
    // Of larger ones how many were about how large shows, and not which.
    let policy = Policy::default();
    let sound = of([2, 1_500, 6_500], &policy);
    assert_eq!(of([2, 6_500, 1_500], &policy), sound);
    assert_eq!(of([2, 1_600, 6_400], &policy), sound);
    assert_ne!(of([2, 4_000, 4_000], &policy), sound);
}

#[test]
fn when_a_client_sends_its_frames_shows() {
    let texts = [letters(10, 0), letters(200, 1), letters(300, 2)];
    let read = |gaps_us: &[u64]| {
        let plan = Plan {
            api: Api::Realtime,
            gaps_us: gaps_us.to_vec(),
            ..chat(3, 10, 1000)
        };
        let read = read(&[plan], &texts, &Policy::default()).remove(0);
        *read.frames.unwrap()
    };
    let frames = read(&[7, 20]);
    assert_eq!(frames.first_sent_us, Some(20));
    let gaps: Vec<_> = frames.sent_gaps.values().collect();
    assert_eq!(gaps, [(7, 1), (20, 1)]);
    assert_eq!(frames.came_sizes.count(), 40);
    assert_ne!(read(&[7, 21]), frames);
}

#[test]
fn what_is_the_same_and_what_is_not_shows() {
    // Without this the twins could agree because nothing is recorded at all.
    let texts = [letters(10, 0), letters(200, 1), letters(300, 2)];
    let plans = [chat(1, 10, 1000), chat(2, 10, 1000)];
    let of = |plans: &[Plan], policy: &Policy| trace_of(plans, &texts, 0, policy, KEY);
    let default = Policy::default();
    let usual = of(&plans, &default);
    let longer = [letters(10, 0), letters(201, 1), letters(300, 2)];
    assert_ne!(trace_of(&plans, &longer, 0, &default, KEY), usual);
    let changed = |change: fn(&mut Plan)| {
        let mut plans = plans.clone();
        change(&mut plans[1]);
        of(&plans, &default)
    };
    assert_ne!(changed(|plan| plan.prompt[0].1 = 2), usual, "unshared");
    assert_ne!(changed(|plan| plan.wait_us += 1), usual, "later");
    assert_ne!(changed(|plan| plan.reader_wait_us = 1_000), usual, "slow");
    let pictured = changed(|plan| plan.pictured = Some(0));
    assert_ne!(pictured, usual);
    assert_ne!(changed(|plan| plan.pictured = Some(1)), pictured);
    assert_ne!(changed(|plan| plan.coded = true), usual);
    // One in flight for long is in the file twice.
    assert!(changed(|plan| plan.long = true).len() > usual.len() + 100);
    // So does the shape of a tensor whose data are the same.
    let infer = |number| Plan {
        api: Api::Infer,
        prompt: vec![(1, number)],
        ..plans[0].clone()
    };
    assert_ne!(
        of(&[infer(1)], &default),
        of(&[infer(1 + texts.len())], &default)
    );
    // And so do the numbers that a request asks for.
    let vectors = |read| Plan {
        api: Api::Embeddings,
        read,
        ..plans[0].clone()
    };
    assert_ne!(of(&[vectors(256)], &default), of(&[vectors(512)], &default));
}

#[test]
fn whom_an_exchange_belongs_to_shows() {
    let texts = [letters(10, 0), letters(200, 1), letters(300, 2)];
    let sessions = |change: fn(&mut Plan)| {
        let mut plans = [chat(1, 10, 1000), chat(1, 10, 1000)];
        plans[1].prompt[0].1 = 2;
        plans.iter_mut().for_each(change);
        let read = read(&plans, &texts, &Policy::default());
        read.iter()
            .map(|exchange| exchange.session.map(|it| it.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(sessions(|_| ()), [Some(0), Some(1)]);
    assert_eq!(sessions(|plan| plan.session = Some(1)), [Some(0), Some(0)]);
    // The second goes on from what the first is called.
    assert_eq!(
        sessions(|plan| {
            plan.api = Api::Responses;
            plan.follows = (plan.prompt[0].1 == 2).then_some(3);
        }),
        [Some(0), Some(0)]
    );
}

#[test]
fn names_that_may_stand_in_a_trace_do() {
    let texts = [letters(10, 0), letters(200, 1)];
    let plans = [chat(1, 10, 1000), chat(1, 10, 1000)];
    let names = |policy: Policy| {
        let bytes = trace_of(&plans, &texts, 0, &policy, KEY);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        std::fs::write(&path, bytes).unwrap();
        let mut trace = Trace::open(&[path]).unwrap();
        let models: Vec<_> = trace.exchanges().map(|it| it.unwrap().model).collect();
        trace.model_name(models[0].unwrap()).map(str::to_owned)
    };
    assert_eq!(names(Policy::default()), None);
    let told = Some("llama-0".to_owned());
    let keep_models = ["llama-0".to_owned()].into();
    assert_eq!(
        names(Policy {
            keep_models,
            ..Policy::default()
        }),
        told
    );
    assert_eq!(
        names(Policy {
            name_threshold: 2,
            ..Policy::default()
        }),
        told
    );
}
