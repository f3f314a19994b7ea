//! Anthropic messages.

use serde_json::{Value, json};

use super::{
    Api, Problem, Reply, Understood, event, flag, length_ask, model, number, plan, prompt,
};
use crate::sim::Config;
use crate::sim::answer::{Finish, Form};
use crate::sim::template::PromptTokens;

/// `POST /v1/messages`
pub(in crate::sim) struct Messages;

impl Api for Messages {
    fn understand(&self, config: &Config, body: &Value) -> Result<Understood, Problem> {
        let model = model(config, body)?;
        let mut tokens = PromptTokens::new(config.longest_sequence());
        prompt::tools(body, &mut tokens)?;
        if let Some(system) = body.get("system").filter(|system| !system.is_null()) {
            tokens.open("system");
            prompt::content(system, &mut tokens)?;
            tokens.close();
        }
        prompt::messages(body, &mut tokens)?;
        tokens.generation();
        let Some(most) = number(body, "max_tokens", 1)? else {
            return Err(Problem::bad("max_tokens: Field required"));
        };
        let tool = called_tool(body);
        let form = if tool.is_some() {
            Form::ToolCall
        } else {
            Form::Text
        };
        let (submission, id) = plan(config, vec![tokens], 1, length_ask(body, Some(most))?, form)?;
        let reply = Reply {
            api: &Messages,
            model,
            id,
            answers: submission.answers(),
            prompt_tokens: submission.prompt_tokens(),
            cached_tokens: 0,
            tool,
            include_usage: true,
        };
        Ok(Understood {
            submission,
            reply,
            stream: flag(body, "stream"),
        })
    }

    fn whole(&self, reply: &Reply) -> Value {
        let text = reply
            .answer(0)
            .map(crate::sim::answer::Answer::text)
            .unwrap_or_default();
        let content = match &reply.tool {
            Some(name) => json!([{"type": "tool_use", "id": tool_id(reply), "name": name,
                "input": serde_json::from_str::<Value>(&text).unwrap_or_else(|_| json!({}))}]),
            None => json!([{"type": "text", "text": text}]),
        };
        json!({"id": message_id(reply), "type": "message", "role": "assistant", "model": reply.model,
            "content": content, "stop_reason": stop_reason(reply), "stop_sequence": null,
            "usage": usage(reply, reply.output_tokens())})
    }

    fn begin(&self, reply: &Reply, events: &mut Vec<String>) {
        let message = json!({"type": "message_start", "message": {"id": message_id(reply), "type": "message",
            "role": "assistant", "model": reply.model, "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": usage(reply, 0)}});
        events.push(event(Some("message_start"), &message));
        let block = match &reply.tool {
            Some(name) => {
                json!({"type": "tool_use", "id": tool_id(reply), "name": name, "input": {}})
            }
            None => json!({"type": "text", "text": ""}),
        };
        let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
        events.push(event(Some("content_block_start"), &start));
        events.push(event(Some("ping"), &json!({"type": "ping"})));
    }

    fn token(&self, reply: &Reply, choice: u32, ordinal: u32, events: &mut Vec<String>) {
        let Some(answer) = reply.answer(choice) else {
            return;
        };
        let piece = answer.piece(ordinal);
        let delta = if reply.tool.is_some() {
            json!({"type": "input_json_delta", "partial_json": piece})
        } else {
            json!({"type": "text_delta", "text": piece})
        };
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        events.push(event(Some("content_block_delta"), &delta));
    }

    fn end(&self, reply: &Reply, events: &mut Vec<String>) {
        events.push(event(
            Some("content_block_stop"),
            &json!({"type": "content_block_stop", "index": 0}),
        ));
        let delta = json!({"type": "message_delta",
            "delta": {"stop_reason": stop_reason(reply), "stop_sequence": null},
            "usage": {"output_tokens": reply.output_tokens()}});
        events.push(event(Some("message_delta"), &delta));
        events.push(event(
            Some("message_stop"),
            &json!({"type": "message_stop"}),
        ));
    }

    fn error(&self, problem: &Problem) -> Value {
        let kind = match problem.status {
            404 => "not_found_error",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            400..500 => "invalid_request_error",
            _ => "api_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": problem.message}})
    }

    fn broken(&self, problem: &Problem, events: &mut Vec<String>) {
        events.push(event(Some("error"), &self.error(problem)));
    }
}

fn called_tool(body: &Value) -> Option<String> {
    let choice = body.get("tool_choice")?;
    let name = match choice.get("type")?.as_str()? {
        "any" => body.get("tools")?.get(0)?.get("name")?,
        "tool" => choice.get("name")?,
        _ => return None,
    };
    Some(name.as_str()?.to_owned())
}

/// What came from the cache is not in `input_tokens`.
fn usage(reply: &Reply, output_tokens: u64) -> Value {
    let cached = u64::from(reply.cached_tokens);
    json!({"input_tokens": reply.prompt_tokens.saturating_sub(cached), "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached, "output_tokens": output_tokens})
}

fn stop_reason(reply: &Reply) -> &'static str {
    match (
        reply.answer(0).map(crate::sim::answer::Answer::finish),
        &reply.tool,
    ) {
        (Some(Finish::Length), _) => "max_tokens",
        (_, Some(_)) => "tool_use",
        _ => "end_turn",
    }
}

fn message_id(reply: &Reply) -> String {
    format!("msg_{:016x}", reply.id)
}

fn tool_id(reply: &Reply) -> String {
    format!("toolu_{:016x}", reply.id)
}
