//! Messages' contents as they go out.

use serde::Serialize;

use super::DraftMedia;

/// What a message says: its text, or, where there is more, parts.
#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::dialect) enum WireContent<'a, P> {
    Text(&'a str),
    Parts(Vec<P>),
}

/// A part, in an API's own words.
pub(in crate::dialect) trait ContentPart<'a> {
    fn text(text: &'a str) -> Self;

    fn medium(medium: &'a DraftMedia) -> Self;
}

impl<'a, P: ContentPart<'a>> WireContent<'a, P> {
    pub(in crate::dialect) fn of(
        text: &'a str,
        media: impl Iterator<Item = &'a DraftMedia>,
    ) -> Self {
        let mut media = media.peekable();
        if media.peek().is_none() {
            return Self::Text(text);
        }
        let text = Some(text).filter(|text| !text.is_empty()).map(P::text);
        Self::Parts(text.into_iter().chain(media.map(P::medium)).collect())
    }
}
