//! Messages, tools and media as prompt tokens, in the order in which chat templates put them.

use serde_json::Value;

use super::Problem;
use crate::sim::template::PromptTokens;

/// The tools of a request.
pub(super) fn tools(body: &Value, prompt: &mut PromptTokens) -> Result<(), Problem> {
    match body.get("tools") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(tools)) => {
            tools.iter().for_each(|tool| prompt.tool(&tool.to_string()));
            Ok(())
        }
        Some(_) => Err(Problem::bad("tools must be a list")),
    }
}

/// The messages of a request; there must be one.
pub(super) fn messages(body: &Value, prompt: &mut PromptTokens) -> Result<(), Problem> {
    let Some(Value::Array(messages)) = body.get("messages") else {
        return Err(Problem::bad("messages must be a list"));
    };
    if messages.is_empty() {
        return Err(Problem::bad("messages must not be empty"));
    }
    for message in messages {
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(Problem::bad("every message needs a role"));
        };
        prompt.open(role);
        content(message.get("content").unwrap_or(&Value::Null), prompt)?;
        for call in message
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            for key in ["name", "arguments"] {
                if let Some(text) = call
                    .get("function")
                    .and_then(|function| function.get(key)?.as_str())
                {
                    prompt.text(text);
                }
            }
        }
        prompt.close();
    }
    Ok(())
}

/// A string, parts, or nothing.
pub(super) fn content(content: &Value, prompt: &mut PromptTokens) -> Result<(), Problem> {
    match content {
        Value::Null => Ok(()),
        Value::String(text) => {
            prompt.text(text);
            Ok(())
        }
        Value::Array(parts) => parts.iter().try_for_each(|item| part(item, prompt)),
        _ => Err(Problem::bad("content must be a string or a list of parts")),
    }
}

fn part(part: &Value, prompt: &mut PromptTokens) -> Result<(), Problem> {
    let Some(kind) = part.get("type").and_then(Value::as_str) else {
        return Err(Problem::bad("every part needs a type"));
    };
    let text = |key: &str| part.get(key).and_then(Value::as_str);
    match kind {
        "tool_use" => {
            prompt.text(text("name").unwrap_or_default());
            prompt.text(&part.get("input").map_or_else(String::new, Value::to_string));
            Ok(())
        }
        "tool_result" => content(part.get("content").unwrap_or(&Value::Null), prompt),
        _ => {
            if let Some(words) = text("text").or_else(|| text("thinking")) {
                prompt.text(words);
            } else {
                prompt.media(part.to_string().as_bytes());
            }
            Ok(())
        }
    }
}
