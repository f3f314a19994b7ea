use http::HeaderName;

use crate::anonymise::{Conversation, ConversationKey};

/// The headers in which clients say which conversation a request belongs to. Their values go no further than here: what
/// leaves is a keyed hash.
pub(in crate::record) struct SessionHeaders {
    /// What the operator names, which counts before the usual ones.
    named: Option<HeaderName>,
    key: ConversationKey,
}

impl SessionHeaders {
    pub(in crate::record) fn new(named: Option<HeaderName>, key: ConversationKey) -> Self {
        Self { named, key }
    }

    /// The conversation of a request, of which `field` finds a header's value; empty ones name none.
    pub(in crate::record) fn conversation<'a>(
        &self,
        field: impl FnOnce(&HeaderName) -> Option<&'a [u8]>,
        usual: UsualName<'a>,
    ) -> Option<Conversation> {
        let named = self.named.as_ref().and_then(field);
        let named = named.filter(|value| !value.is_empty());
        let value = named.or(usual.0.map(|(_, value)| value))?;
        Some(self.key.named(value))
    }
}

/// Headers that name a conversation whoever asks, the surest first: of gateways and chat front ends, Codex (now and before), and
/// Open WebUI. Those that name less (a request, a turn) or more (a user, a batch, an agent with all that it started, as
/// `x-session-id` and `x-claude-code-session-id` do) are not among them.
const USUAL: [&str; 4] = [
    "x-conversation-id",
    "thread-id",
    "conversation_id",
    "x-openwebui-chat-id",
];

/// What the usual headers of one request say, as they are gone through.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::record) struct UsualName<'a>(Option<(usize, &'a [u8])>);

impl<'a> UsualName<'a> {
    /// Takes note of a header.
    pub(in crate::record) fn note(&mut self, name: &[u8], value: &'a [u8]) {
        // Mostly decided by the length alone.
        let is_it = |usual: &&str| name.eq_ignore_ascii_case(usual.as_bytes());
        let Some(rank) = USUAL.iter().position(is_it) else {
            return;
        };
        if !value.is_empty() && self.0.is_none_or(|(best, _)| rank < best) {
            self.0 = Some((rank, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual<'a>(headers: &[(&str, &'a str)]) -> UsualName<'a> {
        let mut usual = UsualName::default();
        for (name, value) in headers {
            usual.note(name.as_bytes(), value.as_bytes());
        }
        usual
    }

    #[test]
    fn the_headers_value_is_the_conversation() {
        let header = HeaderName::from_static("x-session-id");
        let headers = SessionHeaders::new(Some(header), ConversationKey::random().unwrap());
        let named =
            |value: &'static [u8]| headers.conversation(|_| Some(value), UsualName::default());
        assert!(named(b"a").is_some());
        assert_eq!(named(b"a"), named(b"a"));
        assert_ne!(named(b"a"), named(b"b"));
        assert_eq!(named(b""), None);
        // Before what else says it, and else that.
        let other = usual(&[("thread-id", "b")]);
        assert_eq!(
            headers.conversation(|_| Some(&b"a"[..]), other),
            named(b"a")
        );
        assert_eq!(headers.conversation(|_| Some(&b""[..]), other), named(b"b"));
        assert_eq!(headers.conversation(|_| None, other), named(b"b"));
    }

    #[test]
    fn usual_headers_name_conversations_by_themselves() {
        let headers = SessionHeaders::new(None, ConversationKey::random().unwrap());
        let found =
            |names: &[(&str, &'static str)]| headers.conversation(|_| unreachable!(), usual(names));
        let a = found(&[("X-Conversation-ID", "a")]);
        assert!(a.is_some());
        for header in USUAL {
            assert_eq!(found(&[("host", "b"), (header, "a")]), a, "{header}");
        }
        assert_eq!(found(&[("thread-id", "b"), ("x-conversation-id", "a")]), a);
        assert_eq!(found(&[("x-conversation-id", "a"), ("thread-id", "b")]), a);
        assert_eq!(found(&[("x-conversation-id", ""), ("thread-id", "a")]), a);
        assert_eq!(found(&[("thread-id", "a"), ("thread-id", "b")]), a);
        for header in ["x-session-id", "x-request-id", "x-correlation-id", "user"] {
            assert_eq!(found(&[(header, "a")]), None, "{header}");
        }
    }
}
