//! Bodies of requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::providers::ai::{Completed, Message, Prompt, Role, Usage};

/// Limit on the tokens of an answer if the caller gives none.
const DEFAULT_MAX_TOKENS: u32 = 4096;

fn default_max_tokens() -> u32 {
    DEFAULT_MAX_TOKENS
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is a monad?"}]}))]
pub struct CompletionRequest {
    /// The conversation so far, oldest first.
    #[schema(min_items = 1)]
    pub messages: Vec<Message>,
    /// A model of the default provider. Absent or `null`: the configured model.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub model: Option<String>,
    /// Randomness; 0.7 if absent. Ignored by models that take none.
    #[serde(default)]
    #[schema(value_type = f64, required = false, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Limit on the tokens of the answer, thinking included; 4096 if absent.
    #[serde(default = "default_max_tokens")]
    #[schema(required = false, minimum = 1, maximum = 128_000)]
    pub max_tokens: u32,
    /// Whether the answer is sent as server-sent events while it is made.
    #[serde(default)]
    #[schema(required = false)]
    pub stream: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"prompt": "What is a monad?", "system": "Answer briefly."}))]
pub struct ChatRequest {
    #[schema(min_length = 1)]
    pub prompt: String,
    /// Instructions to the model.
    #[serde(default)]
    pub system: Option<String>,
    /// A model of the default provider. Absent or `null`: the configured model.
    #[serde(default)]
    #[schema(max_length = 255)]
    pub model: Option<String>,
    /// Randomness; 0.7 if absent. Ignored by models that take none.
    #[serde(default)]
    #[schema(value_type = f64, required = false, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Limit on the tokens of the answer, thinking included; 4096 if absent.
    #[serde(default = "default_max_tokens")]
    #[schema(required = false, minimum = 1, maximum = 128_000)]
    pub max_tokens: u32,
    /// Whether the answer is sent as server-sent events while it is made.
    #[serde(default)]
    #[schema(required = false)]
    pub stream: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"prompt": "Write a haiku about databases.", "complexity": "complex"}))]
pub struct RoutedChatRequest {
    #[schema(min_length = 1)]
    pub prompt: String,
    /// Instructions to the model.
    #[serde(default)]
    pub system: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub complexity: Complexity,
    /// Randomness; 0.7 if absent. Ignored by models that take none.
    #[serde(default)]
    #[schema(value_type = f64, required = false, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Limit on the tokens of the answer, thinking included; 4096 if absent.
    #[serde(default = "default_max_tokens")]
    #[schema(required = false, minimum = 1, maximum = 128_000)]
    pub max_tokens: u32,
}

/// The kind of a task, which decides the provider and the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Complexity {
    /// Classification, extraction, short questions.
    Simple,
    /// Summaries, basic analysis.
    #[default]
    Moderate,
    /// Reasoning, code, creative work.
    Complex,
    /// Questions about facts. No web search is made.
    Search,
}

impl From<CompletionRequest> for Prompt {
    fn from(request: CompletionRequest) -> Self {
        Self { messages: request.messages, temperature: request.temperature, max_tokens: request.max_tokens }
    }
}

impl From<ChatRequest> for Prompt {
    fn from(request: ChatRequest) -> Self {
        Self { messages: messages(request.system, request.prompt), temperature: request.temperature, max_tokens: request.max_tokens }
    }
}

impl From<RoutedChatRequest> for Prompt {
    fn from(request: RoutedChatRequest) -> Self {
        Self { messages: messages(request.system, request.prompt), temperature: request.temperature, max_tokens: request.max_tokens }
    }
}

fn messages(system: Option<String>, prompt: String) -> Vec<Message> {
    let system = system.filter(|text| !text.is_empty()).map(|content| Message { role: Role::System, content });
    system.into_iter().chain([Message { role: Role::User, content: prompt }]).collect()
}

/// A whole answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "content": "A monoid in the category of endofunctors.", "model": "gpt-6-luna", "provider": "openai",
    "usage": {"prompt_tokens": 12, "completion_tokens": 10, "total_tokens": 22}, "finish_reason": "stop", "latency_ms": 412.5
}))]
pub struct CompletionRead {
    pub content: String,
    pub model: String,
    pub provider: &'static str,
    pub usage: Usage,
    /// The provider's word for why the answer ended, such as `stop`, `length`, `end_turn`, `refusal` or `blocked`.
    pub finish_reason: String,
    /// Duration of the call to the provider.
    pub latency_ms: f64,
}

impl From<Completed> for CompletionRead {
    fn from(Completed { target, completion }: Completed) -> Self {
        Self {
            content: completion.content,
            provider: target.provider(),
            model: target.model,
            usage: completion.usage,
            finish_reason: completion.finish_reason,
            latency_ms: crate::platform::telemetry::millis(completion.latency),
        }
    }
}

/// An event of a stream, for the OpenAPI document; `events.rs` writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct CompletionEvent {
    /// `error` if the answer failed after its first piece; absent (`message`) otherwise.
    #[schema(required = false)]
    event: String,
    /// A piece of the text; `[DONE]` at the end of a complete answer; the error envelope with `error`.
    data: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"available": true, "providers": ["openai"], "default_provider": "openai", "default_model": "gpt-6-luna"}))]
pub struct AiStatus {
    /// Whether a provider is configured.
    pub available: bool,
    /// The configured providers.
    pub providers: Vec<&'static str>,
    /// The provider of requests that name no route.
    pub default_provider: &'static str,
    pub default_model: String,
}
