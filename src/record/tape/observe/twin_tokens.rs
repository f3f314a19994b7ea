//! The twins of a recorder that has the model's tokenizer: texts of other words, each as long and as many tokens as the word in its
//! place, give the same bytes.

use proptest::prelude::*;
use serde_json::json;

use super::twin::{KEY, plans, policies, trace_of_said};
use crate::anonymise::{ChainKey, Policy, PromptTokenizer};
use crate::shape::BlockSpec;

/// Words of three letters, each a token of its own.
const WORDS: usize = 40;

fn word(place: usize) -> String {
    let letter = |of: usize| char::from(b'a' + u8::try_from(of).unwrap());
    format!("{}o{}", letter(place / 20), letter(place % 20))
}

fn key() -> ChainKey {
    let mut vocab = serde_json::Map::new();
    vocab.insert("[UNK]".to_owned(), 0.into());
    vocab.extend((0..WORDS).map(|place| (word(place), (place + 1).into())));
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    let tokenizer = PromptTokenizer::from_json(tokenizer.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.tokens("aoa aob bot"), Some(vec![1, 2, 40]));
    KEY.cutting_tokens(Some(tokenizer))
}

fn said(texts: &[Vec<usize>], turn: usize) -> Vec<String> {
    let turned = |places: &Vec<usize>| {
        let words = places.iter().map(|place| word((place + turn) % WORDS));
        words.collect::<Vec<_>>().join(" ")
    };
    texts.iter().map(turned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn twins_of_as_many_tokens_leave_the_same_bytes(
        plans in plans(),
        texts in prop::collection::vec(prop::collection::vec(0..WORDS, 0..120), 1..8),
        turn in 1..WORDS,
        policy in policies()
    ) {
        let (key, block) = (key(), BlockSpec::TOKENS);
        let first = trace_of_said(&plans, &said(&texts, 0), block, &policy, key.clone());
        prop_assert!(trace_of_said(&plans, &said(&texts, turn), block, &policy, key) == first);
    }
}

#[test]
fn one_more_token_shows() {
    // Without this the twins could agree because the tokenizer is not asked.
    let plan = |texts: &[Vec<usize>]| {
        let plans = [super::twin::chat(1, 10, 1_000)];
        let texts = said(texts, 0);
        trace_of_said(&plans, &texts, BlockSpec::TOKENS, &Policy::default(), key())
    };
    let usual = plan(&[vec![0], (0..33).collect()]);
    let unknown = plan(&[vec![0], (0..33).map(|place| place % 7).collect()]);
    assert_eq!(unknown, usual, "as many tokens, shared with none");
    assert_ne!(plan(&[vec![0], (0..34).collect()]), usual);
}
