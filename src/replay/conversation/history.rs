use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::dialect::AnswerText;
use crate::replay::plan::PlannedRequest;
use crate::shape::{MessageShape, Role};

/// A message of a prompt that repeats the answer to an earlier turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::replay) struct Repeated {
    /// Its place among the messages.
    pub(in crate::replay) message: usize,
    /// That turn, by its index in the plan.
    pub(in crate::replay) answer_to: u64,
}

/// Which messages of a conversation's turns repeat answers: the one behind all that the turn before said, where the shapes agree.
///
/// Bounded: of the conversations, those that had a turn among the last ones; a forgotten one's answers are made up.
#[derive(Default)]
pub(in crate::replay) struct History {
    young: HashMap<u64, Said>,
    old: HashMap<u64, Said>,
}

/// What the latest turn of a conversation said.
struct Said {
    index: u64,
    messages: Vec<MessageShape>,
    repeated: Vec<Repeated>,
}

/// Conversations in one of two generations: some 20 MiB with a hundred messages each.
const GENERATION: usize = 1 << 14;

impl History {
    /// Takes in the next turn of conversation `session`, and says which of its messages repeat answers.
    pub(in crate::replay) fn repeated(
        &mut self,
        session: u64,
        planned: &PlannedRequest,
    ) -> Vec<Repeated> {
        let messages = &planned.exchange.request.messages;
        let before = self.young.remove(&session);
        let before = before.or_else(|| self.old.remove(&session));
        let mut repeated = Vec::new();
        if let Some(said) = before {
            let same = messages.iter().zip(&said.messages);
            let same = same
                .take_while(|(a, b)| (a.role, a.bytes) == (b.role, b.bytes))
                .count();
            // A client that rewrote its history keeps what stands before the change.
            repeated = said.repeated;
            repeated.retain(|it| it.message < same);
            let next = messages.get(said.messages.len());
            if same == said.messages.len() && next.is_some_and(|it| it.role == Role::Assistant) {
                repeated.push(Repeated {
                    message: same,
                    answer_to: said.index,
                });
            }
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let said = Said {
            index: planned.index,
            messages: messages.clone(),
            repeated: repeated.clone(),
        };
        self.young.insert(session, said);
        repeated
    }
}

/// A body whose repeated answers are still to be put in. Until then marks stand in their places.
#[derive(Debug, Clone)]
pub(in crate::replay) struct Gaps(Vec<Gap>);

#[derive(Debug, Clone)]
struct Gap {
    place: Range<usize>,
    answer_to: u64,
    /// Stands there where the answer is not to be had.
    made_up: String,
}

impl Gaps {
    /// What stands in a message's place until its answer is known. No prompt's words hold digits, and no dialect escapes it.
    pub(in crate::replay) fn mark(answer_to: u64) -> String {
        format!("reenact-answer-{answer_to:020}-reenact")
    }

    /// The gaps of a written body, given the answers that are missing in it in order, each with what was made up for it.
    pub(in crate::replay) fn find(body: &[u8], missing: Vec<(u64, String)>) -> Self {
        let mut from = 0;
        let gap = |(answer_to, made_up): (u64, String)| {
            let mark = Self::mark(answer_to);
            let start = from + memmem::find(body.get(from..)?, mark.as_bytes())?;
            from = start + mark.len();
            Some(Gap {
                place: start..from,
                answer_to,
                made_up,
            })
        };
        Self(missing.into_iter().filter_map(gap).collect())
    }

    /// The whole body, and how many answers in it had to be made up.
    pub(in crate::replay) fn fill<'a>(
        &self,
        body: &[u8],
        answer_to: impl Fn(u64) -> Option<&'a AnswerText>,
    ) -> (Bytes, u64) {
        let mut whole = Vec::with_capacity(body.len() + 1024);
        let (mut from, mut made_up) = (0, 0);
        for gap in &self.0 {
            whole.extend_from_slice(body.get(from..gap.place.start).unwrap_or_default());
            from = gap.place.end;
            let answer = answer_to(gap.answer_to).map(AnswerText::as_str);
            made_up += u64::from(answer.is_none());
            let text = serde_json::to_string(answer.unwrap_or(&gap.made_up)).unwrap_or_default();
            let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            whole.extend_from_slice(inner.unwrap_or_default().as_bytes());
        }
        whole.extend_from_slice(body.get(from..).unwrap_or_default());
        (whole.into(), made_up)
    }
}

/// The answers of a worker's conversations, by conversation and turn. Bounded: two generations of [`Answers::MOST`] bytes; what has
/// been neither added to nor asked for in a whole one is forgotten.
#[derive(Default)]
pub(in crate::replay) struct Answers {
    young: HashMap<u64, Vec<(u64, AnswerText)>>,
    old: HashMap<u64, Vec<(u64, AnswerText)>>,
    young_bytes: usize,
}

impl Answers {
    const MOST: usize = 64 << 20;

    pub(in crate::replay) fn keep(&mut self, session: u64, index: u64, text: AnswerText) {
        if self.young_bytes >= Self::MOST {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.refresh(session);
        self.young_bytes += text.as_str().len();
        self.young.entry(session).or_default().push((index, text));
    }

    pub(in crate::replay) fn get(&self, session: u64, index: u64) -> Option<&AnswerText> {
        let answers = self
            .young
            .get(&session)
            .or_else(|| self.old.get(&session))?;
        let found = answers.iter().find(|(turn, _)| *turn == index);
        found.map(|(_, text)| text)
    }

    fn refresh(&mut self, session: u64) {
        if let Some(answers) = self.old.remove(&session) {
            let bytes = answers.iter().map(|(_, text)| text.as_str().len());
            self.young_bytes += bytes.sum::<usize>();
            self.young.insert(session, answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::AnswerReader;
    use crate::replay::plan::Turn;
    use crate::replay::testing::exchange;
    use crate::shape::Endpoint;

    fn said(index: u64, messages: &[(Role, u32)]) -> PlannedRequest {
        let mut exchange = exchange(0);
        let shape = |&(role, bytes)| MessageShape {
            role,
            bytes,
            tokens: None,
        };
        exchange.request.messages = messages.iter().map(shape).collect();
        PlannedRequest {
            index,
            intended_us: 0,
            turn: Turn::default(),
            exchange,
        }
    }

    fn answer(text: &str) -> AnswerText {
        let mut reader = AnswerReader::new(Endpoint::OllamaGenerate, None);
        let body = serde_json::json!({ "response": text }).to_string();
        reader.data(body.as_bytes());
        reader.finish().unwrap()
    }

    #[test]
    fn the_message_behind_what_was_said_before_repeats_the_answer() {
        use Role::{Assistant, User};
        let mut history = History::default();
        let places = |repeated: Vec<Repeated>| -> Vec<(usize, u64)> {
            repeated
                .iter()
                .map(|it| (it.message, it.answer_to))
                .collect()
        };
        assert_eq!(places(history.repeated(1, &said(0, &[(User, 10)]))), []);
        let second = [(User, 10), (Assistant, 50), (User, 20)];
        assert_eq!(places(history.repeated(1, &said(4, &second))), [(1, 0)]);
        let third = [&second[..], &[(Assistant, 9), (User, 7)]].concat();
        assert_eq!(
            places(history.repeated(1, &said(9, &third))),
            [(1, 0), (3, 4)]
        );
        // The client cut its history after the first answer.
        let rewritten = [(User, 10), (Assistant, 50), (User, 33)];
        assert_eq!(places(history.repeated(1, &said(12, &rewritten))), [(1, 0)]);
        assert_eq!(places(history.repeated(2, &said(13, &second))), []);
    }

    #[test]
    fn gaps_are_filled_with_what_was_answered_or_made_up() {
        let body = format!("[\"{}\",\"x\",\"{}\"]", Gaps::mark(3), Gaps::mark(8));
        let missing = vec![
            (3, "made".to_owned()),
            (8, "up".to_owned()),
            (9, "gone".to_owned()),
        ];
        let gaps = Gaps::find(body.as_bytes(), missing);
        let told = answer("a \"quote\"\n");
        let (whole, made_up) = gaps.fill(body.as_bytes(), |index| (index == 3).then_some(&told));
        assert_eq!(&whole[..], br#"["a \"quote\"\n","x","up"]"#);
        assert_eq!(made_up, 1);
    }

    #[test]
    fn answers_are_kept_within_bounds_and_the_latest_longest() {
        let mut answers = Answers::default();
        let large = answer(&"x".repeat(2 << 20));
        for index in 0..200 {
            answers.keep(index, index, large.clone());
            answers.keep(1000, index, answer("short"));
        }
        assert!(answers.get(0, 0).is_none());
        assert!(answers.get(199, 199).is_some());
        assert_eq!(answers.get(1000, 7).unwrap().as_str(), "short");
        let kept = answers.young.len() + answers.old.len();
        assert!(kept <= 68, "{kept}");
    }
}
