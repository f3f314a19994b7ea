//! OpenAI chat completions, completions, models, and vLLM's tokenize.

use serde_json::{Value, json};

use super::{
    Api, Problem, Reply, Understood, event, flag, length_ask, model, number, plan, prompt,
};
use crate::sim::Config;
use crate::sim::answer::{Answer, Finish, Form};
use crate::sim::template::PromptTokens;

/// `POST /v1/chat/completions`
pub(in crate::sim) struct Chat;

/// `POST /v1/completions`
pub(in crate::sim) struct Completions;

impl Api for Chat {
    fn understand(&self, config: &Config, body: &Value) -> Result<Understood, Problem> {
        let model = model(config, body)?;
        let mut tokens = PromptTokens::new(config.longest_sequence());
        prompt::tools(body, &mut tokens)?;
        prompt::messages(body, &mut tokens)?;
        tokens.generation();
        let most = number(body, "max_completion_tokens", 1)?.or(number(body, "max_tokens", 1)?);
        let tool = called_tool(body);
        let form = if tool.is_some() {
            Form::ToolCall
        } else {
            Form::Text
        };
        let ask = length_ask(body, most)?;
        understood(&Chat, config, body, model, vec![tokens], ask, form, tool)
    }

    fn whole(&self, reply: &Reply) -> Value {
        let choices: Vec<Value> = (0..)
            .zip(&reply.answers)
            .map(|(index, answer)| {
                let message = match &reply.tool {
                    Some(name) => json!({"role": "assistant", "content": null, "tool_calls": [{
                        "id": call_id(reply, index), "type": "function",
                        "function": {"name": name, "arguments": answer.text()}}]}),
                    None => json!({"role": "assistant", "content": answer.text()}),
                };
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish(answer)})
            })
            .collect();
        json!({"id": format!("chatcmpl-{:016x}", reply.id), "object": "chat.completion", "created": created(),
            "model": reply.model, "choices": choices, "usage": usage(reply)})
    }

    fn begin(&self, reply: &Reply, events: &mut Vec<String>) {
        for choice in 0..count(&reply.answers) {
            let mut delta = json!({"role": "assistant", "content": ""});
            if let Some(name) = &reply.tool {
                delta = json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0,
                    "id": call_id(reply, choice), "type": "function", "function": {"name": name, "arguments": ""}}]});
            }
            events.push(chat_chunk(reply, choice, &delta, &Value::Null));
        }
    }

    fn token(&self, reply: &Reply, choice: u32, ordinal: u32, events: &mut Vec<String>) {
        let Some(answer) = reply.answer(choice) else {
            return;
        };
        let piece = answer.piece(ordinal);
        let delta = if reply.tool.is_some() {
            json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        } else {
            json!({"content": piece})
        };
        events.push(chat_chunk(reply, choice, &delta, &Value::Null));
        if reply.is_last(choice, ordinal) {
            events.push(chat_chunk(
                reply,
                choice,
                &json!({}),
                &json!(finish(answer)),
            ));
        }
    }

    fn end(&self, reply: &Reply, events: &mut Vec<String>) {
        if reply.include_usage {
            let chunk = json!({"id": format!("chatcmpl-{:016x}", reply.id), "object": "chat.completion.chunk",
                "created": created(), "model": reply.model, "choices": [], "usage": usage(reply)});
            events.push(event(None, &chunk));
        }
        events.push("data: [DONE]\n\n".to_owned());
    }

    fn error(&self, problem: &Problem) -> Value {
        error(problem)
    }
}

impl Api for Completions {
    fn understand(&self, config: &Config, body: &Value) -> Result<Understood, Problem> {
        let model = model(config, body)?;
        let prompts = texts(body, "prompt", config.longest_sequence())?;
        let most = number(body, "max_tokens", 1)?.unwrap_or(16);
        let ask = length_ask(body, Some(most))?;
        understood(
            &Completions,
            config,
            body,
            model,
            prompts,
            ask,
            Form::Text,
            None,
        )
    }

    fn whole(&self, reply: &Reply) -> Value {
        let choices: Vec<Value> = (0..)
            .zip(&reply.answers)
            .map(|(index, answer)| {
                let index: u32 = index;
                json!({"index": index, "text": answer.text(), "logprobs": null, "finish_reason": finish(answer)})
            })
            .collect();
        json!({"id": format!("cmpl-{:016x}", reply.id), "object": "text_completion", "created": created(),
            "model": reply.model, "choices": choices, "usage": usage(reply)})
    }

    fn begin(&self, _: &Reply, _: &mut Vec<String>) {}

    fn token(&self, reply: &Reply, choice: u32, ordinal: u32, events: &mut Vec<String>) {
        let Some(answer) = reply.answer(choice) else {
            return;
        };
        let reason = if reply.is_last(choice, ordinal) {
            json!(finish(answer))
        } else {
            Value::Null
        };
        let chunk = json!({"id": format!("cmpl-{:016x}", reply.id), "object": "text_completion", "created": created(),
            "model": reply.model, "choices": [{"index": choice, "text": answer.piece(ordinal), "logprobs": null,
            "finish_reason": reason}]});
        events.push(event(None, &chunk));
    }

    fn end(&self, reply: &Reply, events: &mut Vec<String>) {
        if reply.include_usage {
            let chunk = json!({"id": format!("cmpl-{:016x}", reply.id), "object": "text_completion",
                "created": created(), "model": reply.model, "choices": [], "usage": usage(reply)});
            events.push(event(None, &chunk));
        }
        events.push("data: [DONE]\n\n".to_owned());
    }

    fn error(&self, problem: &Problem) -> Value {
        error(problem)
    }
}

/// `GET /v1/models`
pub(in crate::sim) fn models(config: &Config) -> Value {
    json!({"object": "list", "data": [{"id": config.model, "object": "model", "created": 0,
        "owned_by": crate::net::SIMULATED, "max_model_len": config.longest_sequence()}]})
}

/// `POST /tokenize`, as vLLM has it.
pub(in crate::sim) fn tokenize(config: &Config, body: &Value) -> Result<Value, Problem> {
    let mut tokens = PromptTokens::new(u32::MAX);
    match body.get("prompt") {
        Some(Value::String(text)) => tokens.text(text),
        _ => {
            prompt::tools(body, &mut tokens)?;
            prompt::messages(body, &mut tokens)?;
            if body
                .get("add_generation_prompt")
                .and_then(Value::as_bool)
                .unwrap_or(true)
            {
                tokens.generation();
            }
        }
    }
    let count = tokens.count();
    Ok(
        json!({"count": count, "max_model_len": config.longest_sequence(), "tokens": tokens.into_ids()}),
    )
}

#[allow(
    clippy::too_many_arguments,
    reason = "what the endpoints have found out"
)]
pub(super) fn understood(
    api: &'static dyn Api,
    config: &Config,
    body: &Value,
    model: String,
    prompts: Vec<PromptTokens>,
    ask: crate::sim::answer::LengthAsk,
    form: Form,
    tool: Option<String>,
) -> Result<Understood, Problem> {
    let choices = number(body, "n", 1)?.unwrap_or(1);
    if choices > MOST_CHOICES {
        return Err(Problem::bad(format!("n must be at most {MOST_CHOICES}")));
    }
    let (submission, id) = plan(config, prompts, choices, ask, form)?;
    let reply = Reply {
        api,
        model,
        id,
        answers: submission.answers(),
        prompt_tokens: submission.prompt_tokens(),
        cached_tokens: 0,
        tool,
        include_usage: body
            .get("stream_options")
            .is_some_and(|options| flag(options, "include_usage")),
    };
    Ok(Understood {
        submission,
        reply,
        stream: flag(body, "stream"),
    })
}

/// The tool that must be called: the one named, or the first where any will do.
fn called_tool(body: &Value) -> Option<String> {
    let name = |tool: &Value| Some(tool.get("function")?.get("name")?.as_str()?.to_owned());
    match body.get("tool_choice")? {
        Value::String(choice) if choice == "required" => name(body.get("tools")?.get(0)?),
        choice @ Value::Object(_) => name(choice),
        _ => None,
    }
}

/// One text or several, as words or as token ids.
pub(super) fn texts(body: &Value, key: &str, limit: u32) -> Result<Vec<PromptTokens>, Problem> {
    let wrong = || Problem::bad(format!("{key} must be text or token ids"));
    match body.get(key) {
        Some(Value::String(text)) => Ok(vec![of_text(text, limit)]),
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_u64) => {
            Ok(vec![of_ids(items, limit)?])
        }
        Some(Value::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(of_text(text, limit)),
                Value::Array(ids) => of_ids(ids, limit),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

fn of_text(text: &str, limit: u32) -> PromptTokens {
    let mut tokens = PromptTokens::new(limit);
    tokens.text(text);
    tokens
}

fn of_ids(ids: &[Value], limit: u32) -> Result<PromptTokens, Problem> {
    let mut tokens = PromptTokens::new(limit);
    for id in ids {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        tokens.push(id.ok_or_else(|| Problem::bad("token ids must be whole numbers"))?);
    }
    Ok(tokens)
}

fn chat_chunk(reply: &Reply, choice: u32, delta: &Value, reason: &Value) -> String {
    let chunk = json!({"id": format!("chatcmpl-{:016x}", reply.id), "object": "chat.completion.chunk",
        "created": created(), "model": reply.model,
        "choices": [{"index": choice, "delta": delta, "logprobs": null, "finish_reason": reason}]});
    event(None, &chunk)
}

fn finish(answer: &Answer) -> &'static str {
    match (answer.finish(), answer.form()) {
        (Finish::Length, _) => "length",
        (Finish::Stop, Form::ToolCall) => "tool_calls",
        (Finish::Stop, Form::Text) => "stop",
    }
}

fn usage(reply: &Reply) -> Value {
    json!({"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.output_tokens(),
        "total_tokens": reply.prompt_tokens + reply.output_tokens(),
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens}})
}

pub(super) fn error(problem: &Problem) -> Value {
    let kind = if problem.status < 500 {
        "invalid_request_error"
    } else {
        "server_error"
    };
    json!({"error": {"message": problem.message, "type": kind, "param": null, "code": problem.status}})
}

fn call_id(reply: &Reply, choice: u32) -> String {
    format!("call_{:016x}{choice}", reply.id)
}

fn created() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn count(answers: &[Answer]) -> u32 {
    u32::try_from(answers.len()).unwrap_or(u32::MAX)
}

const MOST_CHOICES: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenize_counts_the_template_too() {
        let config = Config::profile("fast").unwrap();
        let count = |body: Value| tokenize(&config, &body).unwrap()["count"].as_u64().unwrap();
        assert_eq!(count(json!({"prompt": "hello world"})), 2);
        let messages = json!({"messages": [{"role": "user", "content": "hello world"}]});
        assert_eq!(count(messages), 2 + 4 + 3);
    }

    #[test]
    fn bad_requests_are_told_what_is_wrong() {
        let config = Config::profile("fast").unwrap();
        for (body, word) in [
            (json!({}), "messages must be a list"),
            (json!({"messages": []}), "empty"),
            (json!({"messages": [{"content": "x"}]}), "role"),
            (
                json!({"messages": [{"role": "user", "content": 3}]}),
                "content",
            ),
            (
                json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}),
                "max_tokens",
            ),
            (
                json!({"messages": [{"role": "user", "content": "x"}], "n": 1000}),
                "n must be",
            ),
            (
                json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 2_000_000_000}),
                "maximum context",
            ),
        ] {
            let problem = Chat.understand(&config, &body).err().unwrap();
            assert!(
                problem.status == 400 && problem.message.contains(word),
                "{body}: {}",
                problem.message
            );
        }
    }
}
