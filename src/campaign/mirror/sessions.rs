//! Numbers for conversations, so that what they are told apart by is written nowhere.

use std::collections::{HashMap, VecDeque};

use crate::anonymise::Conversation;

/// Which turn of which conversation a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) session: u64,
    pub(super) place: u32,
}

/// The conversations so far. Of more than it holds, the one that began first is forgotten: what comes of it later begins another.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    turns: HashMap<Conversation, Turn>,
    begun: VecDeque<Conversation>,
    next: u64,
}

impl Sessions {
    /// The next turn of a conversation.
    pub(super) fn turn(&mut self, conversation: Conversation) -> Turn {
        if let Some(next) = self.turns.get_mut(&conversation) {
            let turn = *next;
            next.place = next.place.saturating_add(1);
            return turn;
        }
        if self.begun.len() >= MOST
            && let Some(first) = self.begun.pop_front()
        {
            self.turns.remove(&first);
        }
        let turn = Turn {
            session: self.next,
            place: 0,
        };
        self.next += 1;
        self.begun.push_back(conversation);
        self.turns.insert(conversation, Turn { place: 1, ..turn });
        turn
    }
}

/// Some four MiB.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymise::ConversationKey;

    #[test]
    fn conversations_are_numbered_in_the_order_in_which_they_begin_and_held_within_a_bound() {
        let key = ConversationKey::random().unwrap();
        let mut sessions = Sessions::default();
        let mut turn = |name: u64| {
            let turn = sessions.turn(key.alone(name));
            (turn.session, turn.place)
        };
        assert_eq!(turn(7), (0, 0));
        assert_eq!(turn(9), (1, 0));
        assert_eq!(turn(7), (0, 1));
        assert_eq!(turn(7), (0, 2));
        let most = MOST as u64;
        (0..most - 1).for_each(|name| {
            turn(1000 + name);
        });
        assert_eq!(turn(9), (1, 1));
        assert_eq!(turn(7), (most + 1, 0), "forgotten");
        assert_eq!(sessions.turns.len(), MOST);
    }
}
