//! What the twins ask and are answered, in each dialect.

use serde_json::{Value, json};

use super::plan::Plan;
use crate::shape::Endpoint;

/// The dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Api {
    Chat,
    Completions,
    Messages,
    Responses,
    Embeddings,
    OllamaChat,
    OllamaGenerate,
    OllamaEmbed,
    Gemini,
    Cohere,
    Tgi,
    Triton,
    Infer,
    GrpcInfer,
    Realtime,
    /// One that no dialect reads.
    Other,
}

impl Api {
    pub(in super::super) const ALL: [Self; 16] = [
        Self::Chat,
        Self::Completions,
        Self::Messages,
        Self::Responses,
        Self::Embeddings,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::Gemini,
        Self::Cohere,
        Self::Tgi,
        Self::Triton,
        Self::Infer,
        Self::GrpcInfer,
        Self::Realtime,
        Self::Other,
    ];

    pub(super) fn endpoint(self, streamed: bool) -> Endpoint {
        match (self, streamed) {
            (Self::Chat, _) => Endpoint::ChatCompletions,
            (Self::Completions, _) => Endpoint::Completions,
            (Self::Messages, _) => Endpoint::Messages,
            (Self::Responses, _) => Endpoint::Responses,
            (Self::Embeddings, _) => Endpoint::Embeddings,
            (Self::OllamaChat, _) => Endpoint::OllamaChat,
            (Self::OllamaGenerate, _) => Endpoint::OllamaGenerate,
            (Self::OllamaEmbed, _) => Endpoint::OllamaEmbed,
            (Self::Gemini, false) => Endpoint::GeminiGenerate,
            (Self::Gemini, true) => Endpoint::GeminiStream,
            (Self::Cohere, _) => Endpoint::CohereChat,
            (Self::Tgi, false) => Endpoint::TgiGenerate,
            (Self::Tgi, true) => Endpoint::TgiGenerateStream,
            (Self::Triton, false) => Endpoint::TritonGenerate,
            (Self::Triton, true) => Endpoint::TritonGenerateStream,
            (Self::Infer, _) => Endpoint::Infer,
            (Self::GrpcInfer, false) => Endpoint::GrpcInfer,
            (Self::GrpcInfer, true) => Endpoint::GrpcStreamInfer,
            (Self::Realtime, _) => Endpoint::Realtime,
            (Self::Other, _) => Endpoint::Other,
        }
    }

    /// Whether it can answer with a stream.
    fn streams(self) -> bool {
        !matches!(
            self,
            Self::Embeddings | Self::OllamaEmbed | Self::Infer | Self::Realtime | Self::Other
        )
    }

    /// Whether its bodies are text, which a content coding may pack.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::GrpcInfer | Self::Realtime)
    }

    fn is_ollama(self) -> bool {
        matches!(
            self,
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed
        )
    }
}

/// One exchange, and what is said in it.
pub(super) struct Said<'a> {
    pub(super) plan: &'a Plan,
    pub(super) texts: &'a [String],
    /// The model's name.
    pub(super) model: String,
}

impl Said<'_> {
    fn text(&self, number: usize) -> &str {
        &self.texts[number % self.texts.len()]
    }

    fn streamed(&self) -> bool {
        self.plan.streamed && self.plan.api.streams()
    }

    pub(super) fn path(&self) -> String {
        let streamed = self.streamed();
        let verb = |whole, stream| if streamed { stream } else { whole };
        let named = in_path(&self.model);
        match self.plan.api {
            Api::Chat => "/v1/chat/completions".to_owned(),
            Api::Completions => "/v1/completions".to_owned(),
            Api::Messages => "/v1/messages".to_owned(),
            Api::Responses => "/v1/responses".to_owned(),
            Api::Embeddings => "/v1/embeddings".to_owned(),
            Api::OllamaChat => "/api/chat".to_owned(),
            Api::OllamaGenerate => "/api/generate".to_owned(),
            Api::OllamaEmbed => "/api/embed".to_owned(),
            Api::Gemini => {
                let verb = verb("generateContent", "streamGenerateContent");
                format!("/v1beta/models/{named}:{verb}")
            }
            Api::Cohere => "/v2/chat".to_owned(),
            Api::Tgi => verb("/generate", "/generate_stream").to_owned(),
            Api::Triton => format!("/v2/models/{named}/{}", verb("generate", "generate_stream")),
            Api::Infer => format!("/v2/models/{named}/versions/1/infer"),
            Api::GrpcInfer => format!(
                "/inference.GRPCInferenceService/{}",
                verb("ModelInfer", "ModelStreamInfer")
            ),
            Api::Realtime => "/v1/realtime".to_owned(),
            Api::Other => "/own/thing".to_owned(),
        }
    }

    /// The media type of the request. One's own is text, too.
    pub(super) fn asked_type(&self) -> String {
        match self.plan.api {
            Api::Other => format!("application/x-{}", hex(&self.texts[0], "")),
            _ => "application/json".to_owned(),
        }
    }

    /// That of the answer.
    pub(super) fn content_type(&self) -> String {
        match self.plan.api {
            Api::Other => format!("text/x-{}", hex(&self.texts[0], "")),
            Api::GrpcInfer => "application/grpc".to_owned(),
            Api::Realtime => String::new(),
            api if self.streamed() && api.is_ollama() => "application/x-ndjson".to_owned(),
            _ if self.streamed() => "text/event-stream".to_owned(),
            _ => "application/json".to_owned(),
        }
    }

    /// The request's body.
    pub(super) fn request(&self) -> Vec<u8> {
        let plan = self.plan;
        let mut body = json!({"model": self.model, "stream": self.streamed(), "max_tokens": 50});
        let prompts = || -> Vec<&str> {
            let numbers = plan.prompt.iter().map(|&(_, number)| number);
            numbers.map(|number| self.text(number)).collect()
        };
        match plan.api {
            Api::Chat => {
                body["messages"] = self.turns(|text, picture| match picture {
                    Some(picture) => json!([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}}]),
                    None => text.into(),
                });
                body["tools"] = self.tools(|text| json!({"type": "function", "function": {"name": "f", "description": text}}));
                body["stop"] = json!([self.text(plan.model + 1)]);
                body["stream_options"] = json!({"continuous_usage_stats": plan.usage});
                body["return_token_ids"] = plan.begins.into();
            }
            Api::Completions => body["prompt"] = prompts().into(),
            Api::Messages => {
                let marked = json!({"type": "ephemeral", "ttl": self.text(plan.model + 1)});
                body["system"] = json!([{"type": "text", "text": self.text(plan.model + 2), "cache_control": marked}]);
                body["messages"] = self.turns(|text, picture| match picture {
                    Some(picture) => json!([{"type": "text", "text": text}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}]),
                    None => text.into(),
                });
                body["tools"] = self.tools(|text| json!({"name": "f", "description": text, "input_schema": {}, "cache_control": {"ttl": text}}));
            }
            Api::Responses => {
                body["instructions"] = self.text(plan.model + 2).into();
                body["input"] = self.turns(|text, picture| match picture {
                    Some(picture) => json!([{"type": "input_text", "text": text}, {"type": "input_image", "image_url": format!("data:image/png;base64,{picture}")}]),
                    None => text.into(),
                });
                body["tools"] = self
                    .tools(|text| json!({"type": "function", "name": "f", "description": text}));
                if let Some(number) = plan.follows {
                    let kept = ["conversation", "previous_response_id"][usize::from(plan.usage)];
                    body[kept] = self.text(number).into();
                }
            }
            Api::Embeddings => {
                body["input"] = prompts().into();
                body["dimensions"] = plan.read.into();
                body["encoding_format"] = self.text(plan.model + 1).into();
            }
            Api::OllamaEmbed => {
                body["input"] = prompts().into();
                body["options"] = json!({"num_ctx": plan.read});
            }
            Api::OllamaChat => {
                let turn = |role: &'static str, text: &str, picture: Option<String>| match picture {
                    Some(picture) => json!({"role": role, "content": text, "images": [picture]}),
                    None => json!({"role": role, "content": text}),
                };
                body["messages"] = self.said_in_turn(["user", "assistant"], turn);
                body["tools"] = self.tools(|text| json!({"type": "function", "function": {"name": "f", "description": text}}));
            }
            Api::OllamaGenerate => {
                body["system"] = self.text(plan.model + 2).into();
                body["prompt"] = prompts().concat().into();
            }
            Api::Gemini => {
                let turn = |role: &'static str, text: &str, picture: Option<String>| match picture {
                    Some(picture) => {
                        json!({"role": role, "parts": [{"text": text}, {"inlineData": {"mimeType": "image/png", "data": picture}}]})
                    }
                    None => json!({"role": role, "parts": [{"text": text}]}),
                };
                body = json!({
                    "contents": self.said_in_turn(["user", "model"], turn),
                    "systemInstruction": {"parts": [{"text": self.text(plan.model + 2)}]},
                    "tools": self.tools(|text| json!({"functionDeclarations": [{"name": "f", "description": text}]})),
                    "generationConfig": {"stopSequences": [self.text(plan.model + 1)]},
                });
            }
            Api::Cohere => {
                body["messages"] = self.turns(|text, picture| match picture {
                    Some(picture) => json!([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}}]),
                    None => text.into(),
                });
                body["tools"] = self.tools(|text| json!({"type": "function", "function": {"name": "f", "description": text}}));
                body["stop_sequences"] = json!([self.text(plan.model + 1)]);
            }
            Api::Tgi => {
                body = json!({"inputs": prompts().concat(), "parameters": {"max_new_tokens": 50, "stop": [self.text(plan.model + 1)], "adapter_id": self.model}, "stream": self.streamed()});
            }
            Api::Triton => {
                body = json!({"text_input": prompts().concat(), "parameters": {"stream": self.streamed()}});
            }
            Api::Infer => return self.tensors(),
            Api::GrpcInfer => return self.grpc_request(),
            Api::Realtime => return Vec::new(),
            Api::Other => return prompts().concat().into_bytes(),
        }
        body.to_string().into_bytes()
    }

    fn turns(&self, content: impl Fn(&str, Option<String>) -> Value) -> Value {
        self.said_in_turn(
            ["user", "assistant"],
            |role, text, picture| json!({"role": role, "content": content(text, picture)}),
        )
    }

    fn said_in_turn(
        &self,
        roles: [&'static str; 2],
        turn: impl Fn(&'static str, &str, Option<String>) -> Value,
    ) -> Value {
        let turns = self.plan.prompt.iter().map(|&(role, number)| {
            // Those who answer show nothing.
            let picture = self.plan.pictured.filter(|_| role == 0);
            let picture = picture.map(|number| picture_of(self.text(number)));
            turn(roles[role], self.text(number), picture)
        });
        turns.collect()
    }

    fn tools(&self, form: impl Fn(&str) -> Value) -> Value {
        let tools = self.plan.tools.iter();
        tools.map(|&tool| form(self.text(tool))).collect()
    }

    /// Tensors in JSON and, of every other, behind it.
    fn tensors(&self) -> Vec<u8> {
        let mut behind = Vec::new();
        let name = self.text(self.plan.model);
        let inputs: Vec<_> = self
            .plan
            .prompt
            .iter()
            .map(|&(role, number)| {
                let shape = vec![number; role];
                let data = self.text(number);
                if role == 0 {
                    return json!({"name": name, "datatype": name, "shape": shape, "data": [data]});
                }
                behind.extend_from_slice(data.as_bytes());
                json!({"name": name, "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": data.len()}})
            })
            .collect();
        let mut body = json!({"inputs": inputs}).to_string().into_bytes();
        body.extend(behind);
        body
    }

    /// `ModelInferRequest`, in one message: tensors whose data are their own, and such whose data are behind them.
    fn grpc_request(&self) -> Vec<u8> {
        let mut message = field(1, self.model.as_bytes());
        let mut raw = Vec::new();
        for &(role, number) in &self.plan.prompt {
            let data = self.text(number).as_bytes();
            let shape = vec![u8::try_from(number).unwrap(); role];
            let mut tensor = [
                field(1, self.text(self.plan.model).as_bytes()),
                field(2, b"BYTES"),
                field(3, &shape),
            ]
            .concat();
            match role {
                // `InferTensorContents` with one of `bytes_contents`.
                0 => tensor.extend(field(5, &field(8, data))),
                _ => raw.extend(field(7, data)),
            }
            message.extend(field(5, &tensor));
        }
        message.extend(raw);
        framed(&message)
    }

    /// The pieces of the answer, as they arrive.
    pub(super) fn answer(&self) -> Vec<Vec<u8>> {
        let plan = self.plan;
        let parts: Vec<&str> = plan.answer.iter().map(|&at| self.text(at)).collect();
        if plan.api == Api::GrpcInfer {
            let message = |part: &&str| framed(&field(1, part.as_bytes()));
            return parts.iter().map(message).collect();
        }
        if matches!(plan.api, Api::Realtime | Api::Other) {
            let bytes = |part: &&str| part.as_bytes().to_vec();
            return parts.iter().map(bytes).collect();
        }
        if !self.streamed() {
            let whole = self.whole(&parts.concat(), parts.len());
            return vec![whole.to_string().into_bytes()];
        }
        let line = |data: Value| match plan.api.is_ollama() {
            true => format!("{data}\n"),
            false => format!("data: {data}\n\n"),
        };
        let mut pieces: Vec<_> = parts.iter().map(|text| line(self.event(text))).collect();
        pieces.extend(self.last_event(parts.len()).map(line));
        if matches!(plan.api, Api::Chat | Api::Completions) {
            pieces.push("data: [DONE]\n\n".to_owned());
        }
        pieces.into_iter().map(String::into_bytes).collect()
    }

    fn whole(&self, text: &str, tokens: usize) -> Value {
        let id = self.text(self.plan.model + 3);
        let mut body = match self.plan.api {
            Api::Chat => {
                json!({"id": id, "choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
            }
            Api::Completions => json!({"choices": [{"text": text, "finish_reason": "length"}]}),
            Api::Messages => {
                json!({"id": id, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
            }
            Api::Responses => {
                json!({"id": id, "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}]})
            }
            Api::Embeddings => json!({"data": [{"embedding": text}]}),
            Api::OllamaChat => {
                json!({"message": {"content": text}, "done": true, "done_reason": "stop"})
            }
            Api::OllamaGenerate => json!({"response": text, "done": true, "done_reason": "length"}),
            Api::OllamaEmbed => json!({"embeddings": [text]}),
            Api::Gemini => {
                json!({"responseId": id, "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]})
            }
            Api::Cohere => {
                json!({"id": id, "message": {"content": [{"type": "text", "text": text}]}, "finish_reason": "COMPLETE"})
            }
            Api::Tgi => json!({"generated_text": text}),
            Api::Triton => json!({"model_name": id, "text_output": text}),
            Api::Infer | Api::GrpcInfer | Api::Realtime | Api::Other => {
                json!({"outputs": [{"name": id, "data": [text]}]})
            }
        };
        if self.plan.usage {
            self.count(&mut body, tokens);
        }
        body
    }

    /// What the server says that it counted.
    fn count(&self, body: &mut Value, tokens: usize) {
        match self.plan.api {
            Api::Messages | Api::Responses => {
                body["usage"] = json!({"input_tokens": 7, "output_tokens": tokens});
            }
            Api::OllamaEmbed => body["prompt_eval_count"] = 7.into(),
            api if api.is_ollama() => {
                body["prompt_eval_count"] = 7.into();
                body["eval_count"] = tokens.into();
            }
            Api::Gemini => {
                body["usageMetadata"] =
                    json!({"promptTokenCount": 7, "candidatesTokenCount": tokens});
            }
            Api::Cohere => {
                body["usage"] = json!({"tokens": {"input_tokens": 7, "output_tokens": tokens}});
            }
            Api::Tgi => {
                body["details"] = json!({"generated_tokens": tokens, "finish_reason": "length"});
            }
            _ => body["usage"] = json!({"prompt_tokens": 7, "completion_tokens": tokens}),
        }
    }

    /// An event that brings text.
    fn event(&self, text: &str) -> Value {
        match self.plan.api {
            Api::Chat => json!({"choices": [{"index": 0, "delta": {"content": text}}]}),
            Api::Completions => json!({"choices": [{"text": text}]}),
            Api::Messages => {
                json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
            }
            Api::Responses => json!({"type": "response.output_text.delta", "delta": text}),
            Api::OllamaChat => json!({"message": {"content": text}, "done": false}),
            Api::OllamaGenerate => json!({"response": text, "done": false}),
            Api::Gemini => json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}),
            Api::Cohere => {
                json!({"type": "content-delta", "delta": {"message": {"content": {"text": text}}}})
            }
            Api::Tgi => json!({"token": {"text": text}, "generated_text": null}),
            _ => json!({"text_output": text}),
        }
    }

    /// The event that ends a stream, where there is one.
    fn last_event(&self, tokens: usize) -> Option<Value> {
        let id = self.text(self.plan.model + 3);
        Some(match self.plan.api {
            Api::Messages => json!({"type": "message_stop"}),
            Api::Responses => {
                let mut response = json!({"id": id, "status": "completed"});
                if self.plan.usage {
                    self.count(&mut response, tokens);
                }
                json!({"type": "response.completed", "response": response})
            }
            Api::OllamaChat | Api::OllamaGenerate => {
                let mut last = json!({"done": true, "done_reason": "stop"});
                if self.plan.usage {
                    self.count(&mut last, tokens);
                }
                last
            }
            Api::Gemini => json!({"candidates": [{"finishReason": "STOP"}]}),
            Api::Cohere => json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
            Api::Tgi => {
                json!({"token": {"text": id}, "generated_text": id, "details": {"finish_reason": "length", "generated_tokens": tokens}})
            }
            _ => return None,
        })
    }
}

/// A model's name as a path can hold it: one that is told in the trace as it is.
fn in_path(model: &str) -> String {
    match model.starts_with(super::plan::TOLD) {
        true => model.to_owned(),
        false => format!("m{}", hex(model, "")),
    }
}

/// Two digits for each byte.
pub(super) fn hex(text: &str, before: &str) -> String {
    let digits = text.bytes().map(|byte| format!("{before}{byte:02x}"));
    digits.collect()
}

/// A picture that is told by a text, in base64: the header of a PNG of 64 by 48 pixels, and what follows it.
fn picture_of(text: &str) -> String {
    format!("iVBORw0KGgoAAAANSUhEUgAAAEAAAAAw{}", hex(text, ""))
}

/// A field of a message of protobuf that has a length.
fn field(number: u8, data: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut rest = data.len();
    while rest > 127 {
        field.push(u8::try_from(rest & 127).unwrap() | 128);
        rest >>= 7;
    }
    field.push(u8::try_from(rest).unwrap());
    field.extend_from_slice(data);
    field
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &len, message].concat()
}
