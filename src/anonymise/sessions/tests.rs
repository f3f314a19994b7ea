//! How well sessions are recovered, on generated conversations of which the truth is known.

use std::collections::{BTreeMap, HashMap};

use crate::anonymise::{Anonymiser, ChainKey, ConversationKey, Policy, PromptRender, Sighting};
use crate::shape::{
    Endpoint, Exchange, Method, Outcome, RequestShape, ResponseShape, Role, SessionId, TraceTime,
};

/// A small generator of its own, so that the figures are the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn text(&mut self, longest: u64) -> String {
        let length = 1 + self.below(longest);
        (0..length)
            .map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap()))
            .collect()
    }
}

/// One request as a client sends it, and how it went.
struct Sent {
    at: u64,
    conversation: usize,
    tools: bool,
    said: Vec<(Role, String)>,
    answer_bytes: u64,
    outcome: Outcome,
}

/// Conversations as applications have them: shared system prompts, openings that many users share, tool calls, retries after a
/// refusal, answers asked for again, earlier messages edited. All at the same time.
fn traffic(dice: &mut Dice, conversations: usize) -> Vec<Sent> {
    let systems: Vec<String> = (0..8).map(|_| dice.text(3000)).collect();
    let openings = ["hello", "hi", "hey there", "write a poem", "help"];
    let mut all = Vec::new();
    for conversation in 0..conversations {
        let tools = dice.percent(30);
        let system = &systems[usize::try_from(dice.below(8)).unwrap()];
        let mut said = vec![(Role::System, system.clone())];
        let first = if dice.percent(20) {
            openings[usize::try_from(dice.below(5)).unwrap()].to_owned()
        } else {
            dice.text(400)
        };
        said.push((Role::User, first));
        let mut at = dice.below(3_600_000);
        loop {
            let answer = dice.text(1200);
            let sent = |at, said: &Vec<_>, answer_bytes, outcome| Sent {
                at,
                conversation,
                tools,
                said: said.clone(),
                answer_bytes,
                outcome,
            };
            if dice.percent(4) {
                all.push(sent(at, &said, 0, Outcome::Rejected));
                at += 500;
            }
            let bytes = answer.len() as u64;
            all.push(sent(at, &said, bytes, Outcome::Completed));
            at += 1000 + dice.below(60_000);
            if said.len() > 3 && dice.percent(5) {
                // The last answer is asked for again, and the new one is what goes on.
                all.push(sent(at, &said, bytes, Outcome::Completed));
                at += 1000 + dice.below(60_000);
            }
            said.push((Role::Assistant, answer));
            if dice.percent(25) {
                break;
            }
            if tools && dice.percent(40) {
                said.push((Role::Tool, dice.text(2000)));
            } else {
                said.push((Role::User, dice.text(400)));
            }
            if said.len() > 5 && dice.percent(3) {
                // An earlier question is put otherwise.
                said.truncate(4);
                said[3].1 = dice.text(400);
            }
        }
    }
    all.sort_by_key(|sent| sent.at);
    all
}

fn sighting(key: &ChainKey, sent: &Sent) -> Sighting {
    let mut render = PromptRender::new(key);
    if sent.tools {
        render.tool(b"{\"name\":\"search\"}");
    }
    for (role, text) in &sent.said {
        render.message(*role);
        render.text(text.as_bytes());
    }
    let prompt = render.finish();
    let exchange = Exchange {
        request: RequestShape {
            messages: prompt.messages,
            ..RequestShape::default()
        },
        response: ResponseShape::default(),
        outcome: sent.outcome,
        ..Exchange::bare(
            TraceTime::from_us(sent.at * 1000),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    };
    Sighting {
        chain: prompt.chain,
        turns: prompt.turns,
        answer_bytes: sent.answer_bytes,
        ..Sighting::of(exchange)
    }
}

fn gate() -> Anonymiser {
    Anonymiser::with_key(Policy::default(), ChainKey::from_bytes([4; 16]))
}

/// Links found that are right, links found, links there are. A link joins a request to the one before it of its conversation.
fn links(traffic: &[Sent]) -> (usize, usize, usize) {
    let mut gate = gate();
    let mut last_of_session: HashMap<SessionId, usize> = HashMap::new();
    let mut session_of: BTreeMap<usize, SessionId> = BTreeMap::new();
    let (mut right, mut found, mut true_links) = (0, 0, 0);
    for sent in traffic {
        let session = gate
            .admit(sighting(&gate.key().clone(), sent))
            .exchange()
            .session
            .unwrap();
        if let Some(before) = last_of_session.insert(session, sent.conversation) {
            found += 1;
            right += usize::from(before == sent.conversation);
        }
        true_links += usize::from(session_of.insert(sent.conversation, session).is_some());
    }
    (right, found, true_links)
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn conversations_are_recovered() {
    let traffic = traffic(&mut Dice(11), 4000);
    let (right, found, true_links) = links(&traffic);
    let precision = right as f64 / found as f64;
    let recall = right as f64 / true_links as f64;
    println!(
        "{} requests, {true_links} links: precision {precision:.4}, recall {recall:.4}",
        traffic.len()
    );
    assert!(true_links > 10_000);
    assert!(precision >= 0.99, "precision {precision}");
    assert!(recall >= 0.99, "recall {recall}");
}

#[test]
fn a_sessions_name_counts_before_its_prompt() {
    let key = ConversationKey::random().unwrap();
    let mut gate = gate();
    let mut dice = Dice(5);
    let mut session = |name: &[u8], said: &str| {
        let sent = Sent {
            at: 0,
            conversation: 0,
            tools: false,
            said: vec![(Role::User, said.to_owned())],
            answer_bytes: dice.below(100),
            outcome: Outcome::Completed,
        };
        let named = (!name.is_empty()).then(|| key.named(name));
        let sighting = Sighting {
            named,
            ..sighting(gate.key(), &sent)
        };
        gate.admit(sighting).exchange().session.unwrap().0
    };
    assert_eq!(session(b"a", "one"), 0);
    assert_eq!(session(b"b", "one"), 1);
    assert_eq!(session(b"a", "two"), 0);
    assert_eq!(session(b"", "three"), 2);
}

#[test]
fn an_answers_name_joins_a_prompt_that_is_only_an_end() {
    let mut gate = gate();
    let mut session = |said: &str, follows: Option<&str>, answer: &str| {
        let mut render = PromptRender::new(gate.key());
        render.message(Role::User);
        render.text(said.as_bytes());
        if let Some(name) = follows {
            render.follows(name);
        }
        let exchange = Exchange::bare(TraceTime::default(), Endpoint::Responses, Method::Post);
        let sighting = Sighting {
            turns: render.finish().turns,
            answer_name: Some(crate::anonymise::Private::new(answer)),
            ..Sighting::of(exchange)
        };
        gate.admit(sighting).exchange().session.unwrap().0
    };
    assert_eq!(session("hello", None, "resp_1"), 0);
    assert_eq!(session("hello", None, "resp_2"), 1);
    assert_eq!(session("and then?", Some("resp_1"), "resp_3"), 0);
    assert_eq!(session("and then?", Some("resp_2"), "resp_4"), 1);
    assert_eq!(session("go on", Some("resp_3"), "resp_5"), 0);
    // Begun before the recording: those that share it belong together all the same.
    assert_eq!(session("a", Some("conv_9"), "resp_6"), 2);
    assert_eq!(session("b", Some("conv_9"), "resp_7"), 2);
}

#[test]
fn what_has_no_prompt_has_no_session() {
    let nothing = Exchange::bare(TraceTime::default(), Endpoint::Other, Method::Get);
    assert_eq!(gate().admit(Sighting::of(nothing)).exchange().session, None);
}
