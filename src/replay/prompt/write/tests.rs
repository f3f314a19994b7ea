use super::super::dice::Cache;
use super::super::tests::sim_tokens;
use super::*;
use crate::anonymise::{Anonymiser, ChainKey, Policy, PromptRender, Sighting};
use crate::shape::{Method, RequestParams, TokenCount, TraceTime};
use proptest::prelude::*;

const SALT: Salt = Salt::new(11, Cache::Fresh, 0);

fn chat_costs() -> TokenCosts {
    TokenCosts {
        fixed: 3,
        per_message: 4,
        measured: true,
        ..TokenCosts::default()
    }
}

/// Messages as the recorder would keep them, with a token count that the server would have told.
fn record(gate: &mut Anonymiser, messages: &[(Role, String)], tokens: Option<u32>) -> Exchange {
    let mut render = PromptRender::new(gate.key());
    for (role, text) in messages {
        render.message(*role);
        render.text(text.as_bytes());
    }
    let prompt = render.finish();
    let exchange = Exchange {
        request: RequestShape {
            messages: prompt.messages,
            prompt_tokens: tokens.map(|count| TokenCount {
                count,
                source: TokenSource::Usage,
            }),
            params: RequestParams::default(),
            ..RequestShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(0),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    };
    gate.admit(Sighting {
        chain: prompt.chain,
        ..Sighting::of(exchange)
    })
    .into_exchange()
}

fn gate() -> Anonymiser {
    Anonymiser::with_key(Policy::default(), ChainKey::from_bytes([3; 16]))
}

fn prompt(prompter: &mut Prompter, index: u64, exchange: &Exchange, costs: &TokenCosts) -> Prompt {
    let counts = prompter.settle(exchange, exchange.endpoint, costs);
    prompter.write(index, exchange, &counts, exchange.endpoint, &Words::house())
}

fn told(messages: &[(Role, String)], bytes_per_token: f64) -> u32 {
    let bytes: usize = messages.iter().map(|(_, text)| text.len()).sum();
    3 + 4 * messages.len() as u32 + (bytes as f64 / bytes_per_token).round() as u32
}

/// Conversations: (system prompt, turns), each turn (bytes, reply bytes).
fn conversations() -> impl Strategy<Value = Vec<(u8, Vec<(usize, usize)>)>> {
    prop::collection::vec(
        (
            0_u8..3,
            prop::collection::vec((1_usize..400, 1_usize..300), 1..5),
        ),
        1..8,
    )
}

fn text_of(seed: u64, bytes: usize) -> String {
    let mut dice = Dice::new(Salt::new(seed, Cache::Keep, 0), Subject::Tail(seed));
    (0..bytes)
        .map(|_| char::from(b'!' + u8::try_from(dice.below(90)).unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The closed loop in small: what is recorded of the replayed prompts has the same message bytes, the same block
    /// numbers and the same token counts as what was recorded first.
    #[test]
    fn a_recording_of_the_replay_is_the_recording(
        conversations in conversations(),
        bytes_per_token in 3.4_f64..6.5,
    ) {
        let mut first = gate();
        let mut exchanges = Vec::new();
        for (n, (system, turns)) in conversations.iter().enumerate() {
            let mut messages =
                vec![(Role::System, text_of(u64::from(*system), 150 + 70 * usize::from(*system)))];
            for (t, &(ask, reply)) in turns.iter().enumerate() {
                let seed = (n * 100 + t) as u64 + 1000;
                messages.push((Role::User, text_of(seed, ask)));
                let tokens = told(&messages, bytes_per_token);
                exchanges.push(record(&mut first, &messages, Some(tokens)));
                messages.push((Role::Assistant, text_of(seed + 50, reply)));
            }
        }
        let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
        let mut again = gate();
        for (index, exchange) in exchanges.iter().enumerate() {
            let prompt = prompt(&mut prompter, index as u64, exchange, &chat_costs());
            let words: u64 = prompt.messages.iter().map(|(_, text)| sim_tokens(text)).sum();
            let tokens = words + 3 + 4 * prompt.messages.len() as u64;
            prop_assert_eq!(Some(tokens as u32), exchange.request.prompt_tokens.map(|t| t.count));
            let replayed = record(&mut again, &prompt.messages, None);
            prop_assert_eq!(&replayed.request.messages, &exchange.request.messages);
            prop_assert_eq!(&replayed.request.blocks, &exchange.request.blocks);
        }
    }
}

#[test]
fn a_prompt_is_the_same_whenever_it_is_written() {
    let mut gate = gate();
    let messages = |seed| {
        vec![
            (Role::System, text_of(1, 500)),
            (Role::User, text_of(seed, 300)),
        ]
    };
    let [one, two] = [2, 3].map(|seed| record(&mut gate, &messages(seed), Some(150)));
    let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
    let costs = chat_costs();
    let counts = [&one, &two].map(|exchange| prompter.settle(exchange, exchange.endpoint, &costs));
    let late = prompter.write(1, &two, &counts[1], two.endpoint, &Words::house());
    let early = prompter.write(0, &one, &counts[0], one.endpoint, &Words::house());
    let mut in_turn = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
    assert_eq!(prompt(&mut in_turn, 0, &one, &costs), early);
    assert_eq!(prompt(&mut in_turn, 1, &two, &costs), late);
}

#[test]
fn shared_tokens_are_what_the_shared_blocks_hold() {
    let mut gate = gate();
    let system = (Role::System, text_of(1, 64 * 4 - 1));
    let ask = |seed, bytes| vec![system.clone(), (Role::User, text_of(seed, bytes))];
    let one = ask(2, 300);
    let two = ask(3, 300);
    let exchanges = [
        record(&mut gate, &one, Some(told(&one, 4.0))),
        record(&mut gate, &two, Some(told(&two, 4.0))),
    ];
    let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
    let costs = chat_costs();
    let first = prompt(&mut prompter, 0, &exchanges[0], &costs);
    let second = prompt(&mut prompter, 1, &exchanges[1], &costs);
    assert_eq!(first.shared_tokens, 0);
    assert_eq!(first.messages[0], second.messages[0]);
    let system_tokens = sim_tokens(&first.messages[0].1);
    assert_eq!(u64::from(second.shared_tokens), system_tokens + 4);
}

#[test]
fn unknown_token_counts_follow_the_traces_own_bytes_per_token() {
    let mut gate = gate();
    let messages = vec![(Role::User, text_of(1, 6000))];
    let known = record(&mut gate, &messages, Some(1000));
    let unknown = record(&mut gate, &messages, None);
    let mut prompter = Prompter::new(SALT, None, 1.0);
    let costs = TokenCosts::default();
    let count = |prompt: &Prompt| sim_tokens(&prompt.messages[0].1);
    assert_eq!(count(&prompt(&mut prompter, 0, &unknown, &costs)), 6000 / 4);
    prompt(&mut prompter, 1, &known, &costs);
    assert_eq!(count(&prompt(&mut prompter, 2, &unknown, &costs)), 1000);
}

#[test]
fn a_hostile_shape_costs_a_bounded_amount_of_memory() {
    let mut exchange = record(&mut gate(), &[(Role::User, "x".into())], Some(u32::MAX));
    exchange.request.messages[0].bytes = u32::MAX;
    let mut prompter = Prompter::new(SALT, Some(BlockSpec::LIVE), 1.0);
    let prompt = prompt(&mut prompter, 0, &exchange, &TokenCosts::default());
    assert!(prompt.cut);
    assert!(prompt.messages[0].1.len() <= 40 << 20);
}

#[test]
fn the_same_plan_gives_the_same_prompts_and_another_target_other_words() {
    let mut gate = gate();
    let messages = vec![(Role::User, text_of(1, 600))];
    let exchange = record(&mut gate, &messages, Some(150));
    let write = |run| {
        let salt = Salt::new(5, Cache::Fresh, run);
        let mut prompter = Prompter::new(salt, Some(BlockSpec::LIVE), 1.0);
        prompt(&mut prompter, 0, &exchange, &chat_costs())
    };
    assert_eq!(write(0), write(0));
    let (a, b) = (write(0), write(1));
    assert_ne!(a.messages[0].1[..40], b.messages[0].1[..40]);
    assert_eq!(a.messages[0].1.len(), b.messages[0].1.len());
}
