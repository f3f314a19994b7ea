//! An upstream that answers every question as briefly as it can be answered, and passes on what it was asked.

use std::io::Write;
use std::sync::{Mutex, mpsc};

use serde_json::{Value, json};

use super::http;

/// A request as it came.
#[derive(Debug)]
pub struct Heard {
    pub head: String,
    pub body: String,
}

impl Heard {
    /// Whether it is of the replay itself, and no probe before it or question for metrics beside it.
    pub fn is_replayed(&self) -> bool {
        self.head.starts_with("POST") && !self.head.contains("x-reenact-probe")
    }
}

/// What answers anything; without counts of tokens.
pub fn brief() -> Value {
    json!({"data": [{"id": "m"}], "choices": [{"index": 0, "message": {"role": "assistant", "content": "so"}, "text": "so",
        "finish_reason": "stop"}]})
}

/// The same with counts that are the same for every question.
pub fn counted() -> Value {
    let mut answer = brief();
    answer["usage"] = json!({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10});
    answer
}

/// An upstream that gives each request the status and the answer that `answer` has for it.
pub fn upstream(answer: impl Fn(Heard) -> (u16, Value) + Send + Sync + 'static) -> String {
    let (url, _) = http::upstream(move |mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let (status, answer) = answer(Heard {
                head: head.to_owned(),
                body: body.to_owned(),
            });
            let answer = answer.to_string();
            let head = "Whatever\r\ncontent-type: application/json\r\ncontent-length";
            let whole = format!("HTTP/1.1 {status} {head}: {}\r\n\r\n{answer}", answer.len());
            if stream.write_all(whole.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

/// An upstream that gives every request this answer, and all that it was asked.
pub fn noting(answer: Value) -> (String, mpsc::Receiver<Heard>) {
    let (sender, heard) = mpsc::channel();
    let sender = Mutex::new(sender);
    let url = upstream(move |request| {
        // A test that has seen enough is over.
        let _ = sender.lock().unwrap().send(request);
        (200, answer.clone())
    });
    (url, heard)
}
