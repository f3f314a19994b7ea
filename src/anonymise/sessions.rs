//! Sessions recovered from prompts: a prompt that repeats an earlier one and goes on with an answer is its next turn.

use super::conversation::Conversation;
use super::keyed::Generations;
use crate::shape::{MessageShape, SessionId};

/// Which earlier prompts a prompt may go on from: keyed digests of itself up to each answer in it, and of the whole. Opaque, and
/// in memory only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// (index of the answer among the messages, digest of what stands before it), by rising index.
    answered: Vec<(u32, u64)>,
    whole: Option<u64>,
    /// Digest of what its server calls the answer or the conversation that it goes on from.
    follows: Option<u64>,
}

impl Turns {
    /// It goes on from what a server knows by this name.
    pub(super) fn follows(&mut self, name: u64) {
        self.follows = Some(name);
    }

    /// An answer begins as message `index`, after what `so_far` is the digest of.
    pub(super) fn answered(&mut self, index: usize, so_far: u64) {
        self.answered
            .push((u32::try_from(index).unwrap_or(u32::MAX), so_far));
    }

    /// The prompt is whole.
    pub(super) fn asked(&mut self, whole: u64) {
        self.whole = Some(whole);
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.answered.capacity() * size_of::<(u32, u64)>()
    }
}

/// What a turn leaves behind for the next one to be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    session: SessionId,
    /// Bytes of its answer's text, 0 where unknown or where none came.
    answer_bytes: u64,
    /// It came to a good end: an answer that a next turn can repeat.
    answered: bool,
    /// A next turn has come.
    followed: bool,
}

/// What the table is asked about one exchange.
pub(super) struct Asked<'a> {
    /// The session that the client names, as a digest.
    pub(super) named: Option<Conversation>,
    /// What its prompt may go on from.
    pub(super) turns: &'a Turns,
    /// Its messages.
    pub(super) messages: &'a [MessageShape],
    /// Whether it came to a good end.
    pub(super) answered: bool,
    /// Bytes of its answer's text, 0 where unknown.
    pub(super) answer_bytes: u64,
    /// Digest of what the server calls its answer.
    pub(super) answer: Option<u64>,
}

/// Numbers sessions in order of first appearance. Bounded like the table of blocks: a session whose last turn lies more than a
/// generation of turns back is forgotten, and its next turn begins another.
///
/// A server that keeps the conversation itself is told its last answer's name (`previous_response_id`): that counts before the
/// prompt, which is then only its end.
///
/// Prompts that are equal to the last byte (two users who both say "hello") are told apart by how long the answers were that
/// their next turns repeat.
pub(super) struct SessionTable {
    named: Generations<SessionId>,
    turns: Generations<Vec<Turn>>,
    next: u32,
}

/// What a list of turns takes: mostly it has one.
const ALIKE_BYTES: usize = size_of::<Vec<Turn>>() + size_of::<Turn>() + 16;
/// Equal prompts that are waited for at the same time; the oldest beyond these are forgotten.
const MOST_ALIKE: usize = 32;

impl SessionTable {
    /// A table of about `bytes`.
    pub(super) fn within(bytes: u64) -> Self {
        Self {
            named: Generations::within(bytes / 4, size_of::<SessionId>()),
            // A list doubles as it grows, and a turn takes less than half of an entry.
            turns: Generations::within(bytes / 4 * 3, ALIKE_BYTES)
                .growing(|alike| alike.len().saturating_sub(1)),
            next: 0,
        }
    }

    /// The session of an exchange; none where neither its client nor its prompt tells.
    pub(super) fn session(&mut self, asked: &Asked<'_>) -> Option<SessionId> {
        let session = match asked.named {
            Some(name) => self.by_name(name),
            None => match self.by_what_it_follows(asked) {
                Some(session) => session,
                None => self.by_prompt(asked)?,
            },
        };
        // The first that goes on from what came before the recording stands for that.
        for name in [asked.turns.follows, asked.answer].into_iter().flatten() {
            self.named.insert(name, session);
        }
        if let Some(whole) = asked.turns.whole {
            self.remember(whole, session, asked);
        }
        Some(session)
    }

    /// The session of an exchange that is still in flight, if it is known already.
    pub(super) fn known(&mut self, asked: &Asked<'_>) -> Option<SessionId> {
        match asked.named {
            Some(name) => self.named.get(name.digest()),
            None => self
                .by_what_it_follows(asked)
                .or_else(|| self.turn_before(asked).map(|turn| turn.session)),
        }
    }

    fn by_what_it_follows(&mut self, asked: &Asked<'_>) -> Option<SessionId> {
        self.named.get(asked.turns.follows?)
    }

    fn by_name(&mut self, name: Conversation) -> SessionId {
        let digest = name.digest();
        if let Some(session) = self.named.get(digest) {
            return session;
        }
        let session = self.fresh();
        self.named.insert(digest, session);
        session
    }

    fn by_prompt(&mut self, asked: &Asked<'_>) -> Option<SessionId> {
        let whole = asked.turns.whole?;
        if let Some(turn) = self.turn_before(asked) {
            turn.followed = true;
            return Some(turn.session);
        }
        // The same prompt once more, and no answer to the first: a retry.
        let mut again = None;
        self.turns.change(whole, |before| {
            let unanswered = before.iter().rposition(|turn| !turn.answered);
            again = unanswered.map(|at| before.swap_remove(at).session);
        });
        Some(again.unwrap_or_else(|| self.fresh()))
    }

    /// The turn that a prompt goes on from. The latest answer in it first: what that follows is the turn before.
    fn turn_before(&mut self, asked: &Asked<'_>) -> Option<&mut Turn> {
        let known = |&&(_, digest): &&(u32, u64)| self.turns.get_mut(digest).is_some();
        let &(index, digest) = asked.turns.answered.iter().rev().find(known)?;
        let answer = asked.messages.get(usize::try_from(index).ok()?)?;
        predecessor(self.turns.get_mut(digest)?, answer.bytes.into())
    }

    fn remember(&mut self, whole: u64, session: SessionId, asked: &Asked<'_>) {
        let turn = Turn {
            session,
            answer_bytes: asked.answer_bytes,
            answered: asked.answered,
            followed: false,
        };
        let known = self.turns.change(whole, |alike| {
            if alike.len() >= MOST_ALIKE {
                alike.remove(0);
            }
            alike.push(turn);
        });
        if !known {
            self.turns.insert(whole, vec![turn]);
        }
    }

    fn fresh(&mut self) -> SessionId {
        let session = SessionId(self.next);
        // Past 2^32 sessions in one file the last number is shared: rotation comes long before.
        self.next = self.next.saturating_add(1);
        session
    }
}

/// Of turns with the same prompt, the one whose answer a next turn repeats: of those whose answer had that length if any had,
/// and of these one that nobody has followed yet, the latest.
fn predecessor(alike: &mut [Turn], answer_bytes: u64) -> Option<&mut Turn> {
    let rank = |turn: &Turn| {
        (
            turn.answer_bytes == answer_bytes,
            turn.answered,
            !turn.followed,
        )
    };
    alike.iter_mut().max_by_key(|turn| rank(turn))
}

#[cfg(test)]
mod tests;
