//! Marks of what is to be kept, put back where they stood.

use serde::Serialize;

use crate::dialect::Draft;
use crate::shape::{CacheLife, CachePlace};

/// `cache_control`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct WireMark {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl WireMark {
    fn of(life: CacheLife) -> Self {
        Self {
            kind: "ephemeral",
            ttl: match life {
                CacheLife::FiveMinutes => Some("5m"),
                CacheLife::OneHour => Some("1h"),
                // Which other it was nobody kept.
                CacheLife::Unsaid | CacheLife::Other => None,
            },
        }
    }

    /// The mark on the request as a whole.
    pub(super) fn of_request(draft: &Draft<'_>) -> Option<Self> {
        let mut marks = draft.cache_marks.iter();
        let mark = marks.find(|mark| mark.place == CachePlace::Request)?;
        Some(Self::of(mark.life))
    }

    /// The mark behind a tool.
    pub(super) fn of_tool(draft: &Draft<'_>, number: usize) -> Option<Self> {
        let mut marks = draft.cache_marks.iter();
        let is_its =
            |place| matches!(place, CachePlace::Tool { index } if usize::from(index) == number);
        let mark = marks.find(|mark| is_its(mark.place))?;
        Some(Self::of(mark.life))
    }

    /// As the last field of a definition in JSON.
    pub(super) fn field(self) -> Option<String> {
        let mark = serde_json::to_string(&self).ok()?;
        Some(format!(r#","cache_control":{mark}"#))
    }
}

/// Marks of a draft that stand behind no message and can be written.
pub(super) fn marks_of_the_rest(draft: &Draft<'_>) -> usize {
    let is_there = |place| match place {
        CachePlace::Request => true,
        CachePlace::Tool { index } => index < draft.tools.count,
        CachePlace::Message { .. } => false,
    };
    let marks = draft.cache_marks.iter();
    marks.filter(|mark| is_there(mark.place)).count()
}

/// Whether one was to be kept for a time that nobody knows.
pub(super) fn lives_are_vague(draft: &Draft<'_>) -> bool {
    let mut marks = draft.cache_marks.iter();
    marks.any(|mark| mark.life == CacheLife::Other)
}

/// A message's text in pieces, each with the mark behind it; `None` where it has no marks. A piece ends with a word, and none is
/// empty: what is behind a mark and has no text of its own is the last piece's.
pub(super) fn pieces<'a>(
    draft: &Draft<'_>,
    message: usize,
    text: &'a str,
) -> Option<Vec<(&'a str, Option<WireMark>)>> {
    let mut ends: Vec<(usize, CacheLife)> = draft
        .cache_marks
        .iter()
        .filter_map(|mark| match mark.place {
            CachePlace::Message { index, bytes } if usize::from(index) == message => {
                Some((end_of(text, bytes)?, mark.life))
            }
            _ => None,
        })
        .collect();
    if ends.is_empty() {
        return None;
    }
    ends.sort_by_key(|&(end, _)| end);
    // Two at one place are one: the later says for how long.
    ends.reverse();
    ends.dedup_by_key(|&mut (end, _)| end);
    ends.reverse();
    let mut pieces = Vec::with_capacity(ends.len() + 1);
    let mut from = 0;
    for (end, life) in ends {
        let piece = text.get(from..end).unwrap_or_default();
        pieces.push((piece, Some(WireMark::of(life))));
        from = end;
    }
    let rest = text.get(from..).unwrap_or_default();
    pieces.extend((!rest.is_empty()).then_some((rest, None)));
    Some(pieces)
}

/// The last end of a word within so many bytes, or the text's own where it is no longer than that. What comes behind must not matter:
/// prompts that are the same so far are marked at the same place. `None` where no word ends so early.
fn end_of(text: &str, bytes: u32) -> Option<usize> {
    let within = usize::try_from(bytes)
        .ok()
        .and_then(|bytes| text.as_bytes().get(..bytes))
        .filter(|head| head.len() < text.len());
    match within {
        None => Some(text.len()),
        Some(head) => memchr::memrchr(b' ', head).filter(|&end| end > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_behind_the_last_word_that_is_whole() {
        let text = "one two thre\u{e9} four";
        for (bytes, end) in [
            (0, None),
            (3, None),
            (4, Some(3)),
            (8, Some(7)),
            (12, Some(7)),
            (13, Some(7)),
            (14, Some(7)),
            (15, Some(14)),
            (100, Some(text.len())),
            (u32::MAX, Some(text.len())),
        ] {
            assert_eq!(end_of(text, bytes), end, "{bytes}");
        }
        assert_eq!(end_of("", 0), Some(0));
    }
}
