use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::chain::ChainKey;
use crate::shape::Role;

/// Which conversation an exchange belongs to, as a keyed hash: equal for all its turns, and never written anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conversation(u64);

impl Conversation {
    /// The hash itself, for tables in memory.
    pub(super) fn digest(self) -> u64 {
        self.0
    }

    /// Whether this conversation is among the `share` (0 to 1) that is recorded. A hash is spread evenly, so over many
    /// conversations the share comes out; and the answer is the same for each turn.
    pub fn is_sampled(self, share: f64) -> bool {
        // The top 53 bits are a fraction that a float holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let place = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        place < share
    }
}

/// Names conversations by what a client says beside the prompt: a session header.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ConversationKey([u8; 16]);

impl ConversationKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = Self([0; 16]);
        getrandom::fill(&mut key.0)?;
        Ok(key)
    }

    /// The operator's key: every recorder that has it knows a conversation by the same hash.
    pub(super) const fn of_operator(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The conversation that a client calls by this name.
    pub fn named(&self, name: &[u8]) -> Conversation {
        self.hash(|hasher| hasher.write(name))
    }

    /// A conversation of one exchange: the `number`th of those that belong to none.
    pub fn alone(&self, number: u64) -> Conversation {
        self.hash(|hasher| hasher.write_u64(number))
    }

    fn hash(&self, write: impl FnOnce(&mut SipHasher13)) -> Conversation {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        write(&mut hasher);
        Conversation(hasher.finish())
    }
}

/// Recognises a conversation by how its prompt begins: tools, system messages, and the first user message to its end. Every
/// later turn repeats these word for word, and hardly another conversation has the same. (Two that do, two users who both
/// say no more than "hello", are taken for one: a client that can tell them apart says so in a header.)
pub(super) struct Opening {
    key: [u8; 16],
    /// `None` once the first user message has ended.
    hasher: Option<SipHasher13>,
    in_user_message: bool,
    found: Option<Conversation>,
}

impl Opening {
    /// `None` where the key is not for conversations.
    pub(super) fn new(key: &ChainKey) -> Option<Self> {
        key.conversations().map(|key| Self {
            key: *key,
            hasher: Some(SipHasher13::new_with_key(key)),
            in_user_message: false,
            found: None,
        })
    }

    /// A conversation that goes by this name, whatever its prompt. (No rendered prompt begins with this byte.)
    pub(super) fn named(&self, name: &[u8]) -> Conversation {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(u8::MAX);
        hasher.write(name);
        Conversation(hasher.finish())
    }

    /// A part of the rendered prompt.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.write(bytes);
        }
    }

    /// Something that stands in the prompt by reference. The chain's own digest would change with the file.
    pub(super) fn refer_to(&mut self, bytes: &[u8]) {
        if self.hasher.is_some() {
            let mut hasher = SipHasher13::new_with_key(&self.key);
            hasher.write(bytes);
            self.push(&hasher.finish().to_le_bytes());
        }
    }

    /// The next message begins, and the one before it is whole.
    pub(super) fn message(&mut self, role: Role) {
        if self.in_user_message {
            self.close();
        }
        self.in_user_message = self.hasher.is_some() && role == Role::User;
    }

    /// The prompt is whole. A prompt in which no user speaks belongs to no conversation.
    pub(super) fn finish(mut self) -> Option<Conversation> {
        if self.in_user_message {
            self.close();
        }
        self.found
    }

    fn close(&mut self) {
        self.in_user_message = false;
        self.found = self
            .hasher
            .take()
            .map(|hasher| Conversation(hasher.finish()));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymise::PromptRender;

    fn key() -> ChainKey {
        ChainKey::from_bytes([5; 16])
            .recognising_conversations()
            .unwrap()
    }

    /// The prompt of a conversation's turn: everything said so far.
    fn turn(key: &ChainKey, system: &str, said: &[String]) -> Option<Conversation> {
        let mut render = PromptRender::new(key);
        render.tool(b"{\"name\":\"search\"}");
        render.message(Role::System);
        render.text(system.as_bytes());
        for (at, text) in said.iter().enumerate() {
            render.message([Role::User, Role::Assistant][at % 2]);
            render.text(text.as_bytes());
        }
        render.finish().conversation
    }

    fn talk(number: usize, turns: usize) -> Vec<String> {
        let say = |at: usize| format!("conversation {number} says this as its message {at}");
        (0..2 * turns - 1).map(say).collect()
    }

    #[test]
    fn every_turn_of_a_conversation_is_decided_alike_and_the_share_comes_out() {
        const CONVERSATIONS: usize = 20_000;
        let key = key();
        let mut sampled = 0;
        for number in 0..CONVERSATIONS {
            let decisions: Vec<bool> = (1..=5)
                .map(|turns| turn(&key, "be brief", &talk(number, turns)).unwrap())
                .map(|conversation| conversation.is_sampled(0.2))
                .collect();
            assert!(
                decisions.iter().all(|&each| each == decisions[0]),
                "conversation {number} is torn: {decisions:?}"
            );
            sampled += usize::from(decisions[0]);
        }
        // Five standard deviations of a binomial share: 4 000 ± 283.
        assert!((3_717..=4_283).contains(&sampled), "{sampled}");
    }

    #[test]
    fn the_next_file_knows_the_conversation_again_and_another_recorder_does_not() {
        let key = key();
        let said = talk(1, 1);
        let first = turn(&key, "be brief", &said);
        assert_eq!(turn(&key.next().unwrap(), "be brief", &said), first);
        assert_ne!(turn(&self::key(), "be brief", &said), first);
        assert_eq!(
            turn(&ChainKey::from_bytes([5; 16]), "be brief", &said),
            None
        );
    }

    #[test]
    fn what_comes_before_the_first_answer_tells_conversations_apart() {
        let key = key();
        let base = turn(&key, "be brief", &talk(1, 2));
        assert_ne!(turn(&key, "be long", &talk(1, 2)), base);
        assert_ne!(turn(&key, "be brief", &talk(2, 2)), base);
        let showing = |key: &ChainKey, picture: &[u8]| {
            let mut render = PromptRender::new(key);
            render.message(Role::User);
            render.media(crate::shape::MediaKind::Image, picture, 1, None);
            render.finish().conversation.unwrap()
        };
        assert_ne!(showing(&key, b"a"), showing(&key, b"b"));
        assert_eq!(showing(&key, b"a"), showing(&key.next().unwrap(), b"a"));
    }

    #[test]
    fn a_name_is_the_conversation_whatever_is_said() {
        let key = key();
        let named = |key: &ChainKey, name: &str, said: &str| {
            let mut render = PromptRender::new(key);
            render.text(said.as_bytes());
            render.belongs_to(name);
            render.finish().conversation.unwrap()
        };
        let first = named(&key, "conv_1", "hello");
        assert_eq!(named(&key, "conv_1", "and then?"), first);
        assert_eq!(named(&key.next().unwrap(), "conv_1", "hello"), first);
        assert_ne!(named(&key, "conv_2", "hello"), first);
        assert_ne!(named(&self::key(), "conv_1", "hello"), first);
    }

    #[test]
    fn a_prompt_in_which_no_user_speaks_is_no_conversation() {
        assert_eq!(turn(&key(), "be brief", &[]), None);
    }

    #[test]
    fn all_are_sampled_at_one_and_none_at_zero() {
        let key = ConversationKey::random().unwrap();
        for number in 0..1000 {
            assert!(key.alone(number).is_sampled(1.0));
            assert!(!key.alone(number).is_sampled(0.0));
        }
        assert_eq!(key.named(b"a"), key.named(b"a"));
        assert_ne!(key.named(b"a"), key.named(b"b"));
    }
}
