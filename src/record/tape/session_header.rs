use http::HeaderName;

use crate::anonymise::{Conversation, ConversationKey};

/// The header in which clients say which conversation a request belongs to. Its value goes no further than here: what
/// leaves is a keyed hash.
pub(in crate::record) struct SessionHeader {
    name: HeaderName,
    key: ConversationKey,
}

impl SessionHeader {
    pub(in crate::record) fn new(name: HeaderName, key: ConversationKey) -> Self {
        Self { name, key }
    }

    /// Which header it is.
    pub(in crate::record) fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The conversation of this value; an empty one names none.
    pub(in crate::record) fn conversation(&self, value: &[u8]) -> Option<Conversation> {
        (!value.is_empty()).then(|| self.key.named(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_value_is_the_conversation() {
        let header = SessionHeader::new(
            HeaderName::from_static("x-session-id"),
            ConversationKey::random().unwrap(),
        );
        assert!(header.conversation(b"a").is_some());
        assert_eq!(header.conversation(b"a"), header.conversation(b"a"));
        assert_ne!(header.conversation(b"a"), header.conversation(b"b"));
        assert_eq!(header.conversation(b""), None);
    }
}
