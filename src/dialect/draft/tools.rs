//! Tool definitions that stand in for the recorded ones: as many, of as many bytes, the same for the same shape.

use serde_json::value::RawValue;

use crate::shape::ToolsShape;

/// `tools.count` definitions whose JSON takes `tools.bytes` in all; each at least as long as the form needs.
pub(in crate::dialect) fn definitions(
    tools: ToolsShape,
    form: impl Fn(usize, &str) -> String,
    altered: &mut Vec<&'static str>,
) -> Vec<Box<RawValue>> {
    let count = usize::from(tools.count);
    if count == 0 {
        return Vec::new();
    }
    let total = usize::try_from(tools.bytes).unwrap_or(usize::MAX);
    let mut definitions = Vec::with_capacity(count);
    let mut spent = 0;
    for number in 0..count {
        let share = (total - spent) / (count - number);
        let bare = form(number, "").len();
        let definition = form(number, &filler(share.saturating_sub(bare)));
        if definition.len() > share && !altered.contains(&"tools") {
            altered.push("tools");
        }
        spent = (spent + definition.len()).min(total);
        definitions.extend(RawValue::from_string(definition).ok());
    }
    definitions
}

/// A tool as OpenAI's API takes it.
pub(in crate::dialect) fn openai(number: usize, description: &str) -> String {
    format!(
        r#"{{"type":"function","function":{{"name":"tool_{number}","description":"{description}","parameters":{{"type":"object","properties":{{}}}}}}}}"#
    )
}

/// A tool as OpenAI's responses take it.
pub(in crate::dialect) fn openai_flat(number: usize, description: &str) -> String {
    format!(
        r#"{{"type":"function","name":"tool_{number}","description":"{description}","parameters":{{"type":"object","properties":{{}}}}}}"#
    )
}

/// A function as Gemini's API takes it.
pub(in crate::dialect) fn gemini(number: usize, description: &str) -> String {
    format!(r#"{{"name":"tool_{number}","description":"{description}"}}"#)
}

/// A tool as Anthropic's API takes it.
pub(in crate::dialect) fn anthropic(number: usize, description: &str) -> String {
    format!(
        r#"{{"name":"tool_{number}","description":"{description}","input_schema":{{"type":"object"}}}}"#
    )
}

/// `length` bytes of words.
pub(in crate::dialect) fn filler(length: usize) -> String {
    WORDS.chars().cycle().take(length).collect()
}

const WORDS: &str = "look up what is known about this and say it in a few plain words ";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn definitions_take_the_bytes_that_were_recorded(count in 1_u16..40, extra in 0_u32..5000) {
            for form in [openai as fn(usize, &str) -> String, openai_flat, gemini, anthropic] {
                let bare: usize = (0..usize::from(count)).map(|number| form(number, "").len()).sum();
                let bytes = u32::try_from(bare + usize::from(count) * 3).unwrap() + extra;
                let mut altered = Vec::new();
                let made = definitions(ToolsShape { count, bytes }, form, &mut altered);
                prop_assert_eq!(made.len(), usize::from(count));
                prop_assert_eq!(made.iter().map(|tool| tool.get().len()).sum::<usize>(), bytes as usize);
                prop_assert!(altered.is_empty());
            }
        }
    }

    #[test]
    fn too_few_bytes_are_said() {
        let mut altered = Vec::new();
        assert_eq!(
            definitions(
                ToolsShape {
                    count: 2,
                    bytes: 10
                },
                openai,
                &mut altered
            )
            .len(),
            2
        );
        assert_eq!(altered, ["tools"]);
    }
}
