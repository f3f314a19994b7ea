use http::{HeaderMap, HeaderName};

use crate::anonymise::{Conversation, ConversationKey};

/// The header in which clients say which conversation a request belongs to. Its value goes no further than here: what
/// leaves is a keyed hash.
pub(super) struct SessionHeader {
    name: HeaderName,
    key: ConversationKey,
}

impl SessionHeader {
    pub(super) fn new(name: HeaderName, key: ConversationKey) -> Self {
        Self { name, key }
    }

    /// The conversation that a request's headers name; an empty value names none.
    pub(super) fn conversation(&self, headers: &HeaderMap) -> Option<Conversation> {
        let value = headers.get(&self.name)?.as_bytes();
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
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-session-id", value.parse().unwrap());
            header.conversation(&headers)
        };
        assert!(named("a").is_some());
        assert_eq!(named("a"), named("a"));
        assert_ne!(named("a"), named("b"));
        assert_eq!(named(""), None);
        assert_eq!(header.conversation(&HeaderMap::new()), None);
    }
}
