//! Prompts and answers, in a form that every vendor's is translated to and from.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageRole)]
pub enum Role {
    System,
    User,
    Assistant,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub messages: Vec<Message>,
    /// `None` if the caller gave none: the default is then sent to models that take a temperature.
    pub temperature: Option<f64>,
    /// Limit on the tokens of the answer, thinking included.
    pub max_tokens: u32,
}

impl Prompt {
    /// The text of all system messages, joined by blank lines; `None` if there is none.
    pub fn system(&self) -> Option<String> {
        let texts: Vec<&str> = self.messages.iter().filter(|m| m.role == Role::System).map(|m| m.content.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// The messages of the conversation itself.
    pub fn conversation(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| message.role != Role::System)
    }

    /// The tokens of all messages, estimated.
    pub fn estimated_tokens(&self) -> u64 {
        estimated_tokens(self.messages.iter().map(|message| message.content.len()).sum())
    }
}

/// The tokens of a text of this many bytes, estimated as the contract says: bytes / 4.
pub fn estimated_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// The vendor's own sum where it gives one, else that of the other two.
    pub total_tokens: u64,
}

/// Tokens as far as a vendor has told them; each figure replaces an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub prompt: Option<u64>,
    pub completion: Option<u64>,
    pub total: Option<u64>,
}

impl Figures {
    /// Absent figures count as 0.
    pub fn usage(self) -> Usage {
        let (prompt_tokens, completion_tokens) = (self.prompt.unwrap_or(0), self.completion.unwrap_or(0));
        let total_tokens = self.total.unwrap_or(prompt_tokens.saturating_add(completion_tokens));
        Usage { prompt_tokens, completion_tokens, total_tokens }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub content: String,
    pub usage: Usage,
    /// The vendor's word for why the answer ended.
    pub finish_reason: String,
    /// Duration of the call that brought it.
    pub latency: Duration,
}
