//! JSON schemas that stand in for the recorded ones: of as many bytes, and met by any object with one string.

use serde_json::value::RawValue;

use super::tools::filler;

/// A schema whose text takes `bytes` bytes once `around` (what the dialect counts with it) is added; at least as long as the form
/// needs, which is told.
pub(in crate::dialect) fn schema(
    bytes: u32,
    around: usize,
    altered: &mut Vec<&'static str>,
) -> Option<Box<RawValue>> {
    let room = (bytes.min(MOST_BYTES) as usize).saturating_sub(around);
    let text = match room.checked_sub(written("").len()) {
        Some(filling) => written(&filler(filling)),
        None if room <= SHORTEST.len() => SHORTEST.to_owned(),
        None => written(""),
    };
    // Recordings of nothing but the schema's presence tell no bytes.
    if bytes > 0 && text.len() != room {
        altered.push("schema_bytes");
    }
    RawValue::from_string(text).ok()
}

/// A damaged trace can ask for any length.
const MOST_BYTES: u32 = 1 << 20;

const SHORTEST: &str = r#"{"type":"object"}"#;

fn written(description: &str) -> String {
    format!(
        r#"{{"type":"object","description":"{description}","properties":{{"answer":{{"type":"string"}}}},"required":["answer"],"additionalProperties":false}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn schemas_are_json_of_the_recorded_bytes(bytes in 0_u32..4000, around in 0_usize..30) {
            let mut altered = Vec::new();
            let made = schema(bytes, around, &mut altered).unwrap();
            serde_json::from_str::<serde_json::Value>(made.get()).unwrap();
            if bytes >= 200 {
                prop_assert_eq!(made.get().len() + around, bytes as usize);
                prop_assert!(altered.is_empty());
            }
        }
    }

    #[test]
    fn a_schema_too_short_for_the_form_is_told() {
        let mut altered = Vec::new();
        let made = schema(30, 0, &mut altered).unwrap();
        assert!(made.get().len() > 30);
        assert_eq!(altered, ["schema_bytes"]);
    }
}
