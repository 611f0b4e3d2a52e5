//! What the three vendors send, in the shapes of their documentation: complete answers, streamed events, errors, model lists.
//!
//! `OpenAI`: Chat Completions. Anthropic: Messages. Google: Gemini `generateContent` and `streamGenerateContent?alt=sse`.

use serde_json::{Value, json};

use super::stub::Script;

/// Every answer of the stubs costs this many tokens.
pub const PROMPT_TOKENS: u64 = 12;
pub const COMPLETION_TOKENS: u64 = 34;

/// Texts of the recorded streams' pieces.
pub const RECORDED: [&str; 4] = ["你好", " 😀 café", "one\ntwo\r\nthree\rfour", "\n\n- end"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    OpenAi,
    Anthropic,
    Gemini,
}

use Vendor::{Anthropic, Gemini, OpenAi};

pub const VENDORS: [Vendor; 3] = [OpenAi, Anthropic, Gemini];

impl Vendor {
    pub fn name(self) -> &'static str {
        match self {
            OpenAi => "openai",
            Anthropic => "anthropic",
            Gemini => "gemini",
        }
    }

    pub fn default_model(self) -> &'static str {
        match self {
            OpenAi => "gpt-6-luna",
            Anthropic => "claude-sonnet-5-5",
            Gemini => "gemini-3.5-flash-lite",
        }
    }

    pub fn key_name(self) -> &'static str {
        match self {
            OpenAi => "OPENAI_API_KEY",
            Anthropic => "ANTHROPIC_API_KEY",
            Gemini => "GOOGLE_API_KEY",
        }
    }

    pub fn url_name(self) -> &'static str {
        match self {
            OpenAi => "OPENAI_BASE_URL",
            Anthropic => "ANTHROPIC_BASE_URL",
            Gemini => "GEMINI_BASE_URL",
        }
    }

    /// The key that the tests configure.
    pub fn key(self) -> &'static str {
        match self {
            OpenAi => "sk-proj-key-of-openai",
            Anthropic => "sk-ant-key-of-anthropic",
            Gemini => "AIza-key-of-gemini",
        }
    }

    /// The vendor whose API has this path.
    pub fn of_path(path: &str) -> Self {
        match path {
            path if path.starts_with("/v1/messages") => Anthropic,
            path if path.starts_with("/v1beta/") => Gemini,
            _ => OpenAi,
        }
    }

    /// A recorded stream.
    pub fn recorded(self) -> &'static str {
        match self {
            OpenAi => include_str!("recorded/openai.sse"),
            Anthropic => include_str!("recorded/anthropic.sse"),
            Gemini => include_str!("recorded/gemini.sse"),
        }
    }

    /// The usual reason for a complete answer.
    pub fn stop(self) -> &'static str {
        match self {
            OpenAi => "stop",
            Anthropic => "end_turn",
            Gemini => "STOP",
        }
    }

    /// The reason for an answer that reached the limit of tokens.
    pub fn length(self) -> &'static str {
        match self {
            OpenAi => "length",
            Anthropic => "max_tokens",
            Gemini => "MAX_TOKENS",
        }
    }

    /// Body of a complete answer.
    pub fn body(self, text: &str, finish: &str) -> Value {
        match self {
            OpenAi => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_824_000, "model": "gpt-6-luna",
                "choices": [{
                    "index": 0, "logprobs": null, "finish_reason": finish,
                    "message": {"role": "assistant", "content": text, "refusal": null, "annotations": []},
                }],
                "usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46},
                "service_tier": "default",
            }),
            Anthropic => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
                "content": [{"type": "thinking", "thinking": "hidden", "signature": "EqoB"}, {"type": "text", "text": text}],
                "stop_reason": finish, "stop_sequence": null,
                "usage": {
                    "input_tokens": 5, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 34,
                    "service_tier": "standard",
                },
            }),
            Gemini => json!({
                "candidates": [{
                    "content": {"parts": [{"text": "hidden", "thought": true}, {"text": text}], "role": "model"},
                    "finishReason": finish, "index": 0,
                }],
                "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 30, "thoughtsTokenCount": 4, "totalTokenCount": 46},
                "modelVersion": "gemini-3.5-flash-lite", "responseId": "r1",
            }),
        }
    }

    /// A complete answer with this text.
    pub fn answer(self, text: &str) -> Script {
        Script::json(200, &self.body(text, self.stop()))
    }

    /// Streamed events before the first text.
    pub fn opening(self) -> String {
        match self {
            OpenAi => event(&openai_chunk(&json!({"role": "assistant", "content": ""}), None)),
            Anthropic => {
                let usage = json!({"input_tokens": 5, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 1});
                let message = json!({
                    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": usage,
                });
                let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
                named(&json!({"type": "message_start", "message": message})) + &named(&block)
            }
            Gemini => String::new(),
        }
    }

    /// One streamed piece of text.
    pub fn piece(self, text: &str) -> String {
        match self {
            OpenAi => event(&openai_chunk(&json!({"content": text}), None)),
            Anthropic => {
                named(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
            }
            Gemini => event(&json!({
                "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
                "modelVersion": "gemini-3.5-flash-lite", "responseId": "r1",
            })),
        }
    }

    /// An event without text, as vendors send it to keep a connection open.
    pub fn ping(self) -> String {
        match self {
            Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned(),
            OpenAi | Gemini => ": ping\n\n".to_owned(),
        }
    }

    /// Streamed events after the last text: the reason, the usage, the end.
    pub fn ending(self, finish: &str) -> String {
        match self {
            OpenAi => {
                let usage = json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46});
                let mut last = openai_chunk(&json!({}), None);
                last["choices"] = json!([]);
                last["usage"] = usage;
                event(&openai_chunk(&json!({}), Some(finish))) + &event(&last) + "data: [DONE]\n\n"
            }
            Anthropic => {
                let delta = json!({
                    "type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": null}, "usage": {"output_tokens": 34},
                });
                named(&json!({"type": "content_block_stop", "index": 0})) + &named(&delta) + &named(&json!({"type": "message_stop"}))
            }
            Gemini => event(&json!({
                "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": finish, "index": 0}],
                "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 30, "thoughtsTokenCount": 4, "totalTokenCount": 46},
                "modelVersion": "gemini-3.5-flash-lite", "responseId": "r1",
            })),
        }
    }

    /// The event stream of an answer in these pieces.
    pub fn events(self, pieces: &[&str]) -> String {
        let texts: String = pieces.iter().map(|text| self.piece(text)).collect();
        self.opening() + &texts + &self.ending(self.stop())
    }

    /// A complete streamed answer in these pieces.
    pub fn streamed(self, pieces: &[&str]) -> Script {
        Script::events(self.events(pieces))
    }

    /// A list of models, with the dates of their end. Only `OpenAI` tells these.
    pub fn models(self, models: &[(&str, Option<&str>)]) -> Script {
        let list: Vec<_> = models
            .iter()
            .map(|(id, shutdown)| match self {
                OpenAi => json!({"id": id, "object": "model", "created": 1_686_935_002, "owned_by": "x", "shutdown_date": shutdown}),
                Anthropic => json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-02-04T00:00:00Z"}),
                Gemini => json!({"name": format!("models/{id}"), "version": "3.5", "supportedGenerationMethods": ["generateContent"]}),
            })
            .collect();
        let body = match self {
            OpenAi => json!({"object": "list", "data": list}),
            Anthropic => json!({"data": list, "has_more": false, "first_id": null, "last_id": null}),
            Gemini => json!({"models": list}),
        };
        Script::json(200, &body)
    }

    /// The answer to a request for one, streamed or not.
    pub fn either(self, stream: bool, text: &str) -> Script {
        if stream { self.streamed(&[text]) } else { self.answer(text) }
    }

    /// Body of a refusal.
    pub fn error(self, status: u16, kind: &str, message: &str) -> Value {
        match self {
            OpenAi => {
                let class = if status < 500 { "invalid_request_error" } else { "server_error" };
                json!({"error": {"message": message, "type": class, "param": null, "code": kind}})
            }
            Anthropic => json!({"type": "error", "error": {"details": null, "type": kind, "message": message}, "request_id": "req_011"}),
            Gemini => json!({"error": {"code": status, "message": message, "status": kind}}),
        }
    }

    pub fn fails(self, status: u16, kind: &str, message: &str) -> Script {
        Script::json(status, &self.error(status, kind, message))
    }

    /// An event inside a stream that says that the vendor is overloaded.
    pub fn overloaded(self) -> String {
        match self {
            OpenAi => event(&json!({"error": {"message": "overloaded", "type": "server_error", "param": null, "code": null}})),
            Anthropic => named(&json!({"type": "error", "error": {"details": null, "type": "overloaded_error", "message": "Overloaded"}})),
            Gemini => event(&json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})),
        }
    }
}

fn openai_chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_795_824_000, "model": "gpt-6-luna",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null,
    })
}

/// An event without a name.
fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// An event that is named by the type of its data.
fn named(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}
