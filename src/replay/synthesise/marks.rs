//! Where the marks of what shall be kept go in a prompt of other words.

use crate::shape::{BlockSpec, BlockUnit, CacheMark, CachePlace, Exchange, Role};

/// The marks of a recorded request, as they are to be written. One within a message moves up by a block: prompts that were the same
/// to the mark are then the same to where it stands now, since words are the same in whole blocks. An answer is marked as a whole:
/// its text is the target's own, and not known yet.
pub(super) fn marks(exchange: &Exchange, spec: Option<BlockSpec>) -> Vec<CacheMark> {
    let block = match spec {
        Some(spec) if spec.unit == BlockUnit::Bytes => spec.size,
        _ => BlockSpec::LIVE.size,
    };
    let request = &exchange.request;
    let moved = |mark: &CacheMark| {
        let CachePlace::Message { index, bytes } = mark.place else {
            return *mark;
        };
        let within = request
            .messages
            .get(usize::from(index))
            .is_some_and(|it| bytes < it.bytes && it.role != Role::Assistant);
        let bytes = match within {
            true => bytes.saturating_sub(block),
            false => u32::MAX,
        };
        CacheMark {
            place: CachePlace::Message { index, bytes },
            ..*mark
        }
    };
    request.cache_marks.iter().map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::client::Envelope;
    use crate::replay::plan::{PlannedRequest, Turn};
    use crate::replay::synthesise::{Alteration, LengthPolicy, Synthesiser};
    use crate::replay::testing::{exchange, target};
    use crate::replay::{Cache, Calibration, PromptOptions, Salt};
    use crate::shape::{BlockId, CacheLife, Endpoint, MessageShape, ModelId};
    use serde_json::{Value, json};

    fn in_message(index: u16, bytes: u32) -> CacheMark {
        CacheMark {
            place: CachePlace::Message { index, bytes },
            life: CacheLife::OneHour,
        }
    }

    /// A question under a system prompt of 500 bytes, these of whose blocks others share, marked after 300.
    fn asked(blocks: impl IntoIterator<Item = u32>) -> Exchange {
        let mut asked = exchange(0);
        asked.endpoint = Endpoint::Messages;
        let message = |role, bytes| MessageShape {
            role,
            bytes,
            tokens: None,
        };
        let request = &mut asked.request;
        request.messages = vec![message(Role::System, 500), message(Role::User, 100)];
        request.blocks = blocks.into_iter().map(BlockId).collect();
        request.cache_marks = vec![in_message(0, 300), in_message(1, 100)];
        asked
    }

    fn synthesiser(calibration: &Calibration, options: PromptOptions) -> Synthesiser<'_> {
        Synthesiser::new(
            Salt::new(1, Cache::Fresh, 0),
            Some(BlockSpec::LIVE),
            calibration,
            Envelope::new(&target("http://127.0.0.1:1")),
            LengthPolicy::Exact,
            options,
        )
    }

    fn body(synthesiser: &mut Synthesiser<'_>, exchange: Exchange) -> Value {
        let settled = synthesiser.settle(PlannedRequest {
            index: 0,
            intended_us: 0,
            turn: Turn::default(),
            exchange,
        });
        serde_json::from_slice(synthesiser.write(&settled).request.body()).unwrap()
    }

    #[test]
    fn what_was_the_same_up_to_a_mark_still_is() {
        let calibration = Calibration::assumed("m");
        let mut synthesiser = synthesiser(&calibration, PromptOptions::default());
        let first = body(&mut synthesiser, asked(0..9));
        let second = body(&mut synthesiser, asked((0..4).chain(20..25)));
        let marked = json!({"type": "ephemeral", "ttl": "1h"});
        for body in [&first, &second] {
            assert_eq!(body["system"][0]["cache_control"], marked);
            assert_eq!(body["system"][1]["cache_control"], Value::Null);
            assert_eq!(body["messages"][0]["content"][0]["cache_control"], marked);
        }
        let head = first["system"][0]["text"].as_str().unwrap();
        assert!((200..=300).contains(&head.len()), "{head}");
        assert_eq!(second["system"][0], first["system"][0]);
        assert_ne!(second["system"][1], first["system"][1]);
        assert_eq!(synthesiser.alterations().len(), 0);
    }

    #[test]
    fn answers_and_whole_messages_are_marked_as_a_whole() {
        let mut asked = asked(0..9);
        asked.request.messages[0].role = Role::Assistant;
        let whole = |index| in_message(index, u32::MAX);
        assert_eq!(marks(&asked, None), [whole(0), whole(1)]);
        asked.request.messages[0].role = Role::User;
        assert_eq!(marks(&asked, None), [in_message(0, 236), whole(1)]);
    }

    #[test]
    fn an_adapter_is_asked_for_where_its_name_is_known() {
        let calibration = Calibration::assumed("m");
        for (names, asked, told) in [
            (vec![], Value::Null, 1),
            (vec![(ModelId(3), "lora".to_owned())], json!("lora"), 0),
        ] {
            let options = PromptOptions {
                models: names.into_iter().collect(),
                ..PromptOptions::default()
            };
            let mut synthesiser = synthesiser(&calibration, options);
            let mut adapted = exchange(0);
            adapted.endpoint = Endpoint::TgiGenerateStream;
            adapted.model = Some(ModelId(3));
            let body = body(&mut synthesiser, adapted);
            assert_eq!(body["parameters"]["adapter_id"], asked);
            let alterations = synthesiser.alterations();
            let lost = alterations.get(&Alteration::Field("adapter_id"));
            assert_eq!(lost.copied().unwrap_or(0), told);
        }
    }
}
