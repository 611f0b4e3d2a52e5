//! Language models. [`Llm`] is what a vendor offers; [`Gateway`] is what the rest of the server uses: it chooses the vendor
//! and falls back to another one where `AI_FALLBACK` lists it. A vendor is one file here, its `mod` line and its line in
//! [`VENDORS`].
//!
//! The vendors with an HTTP API are a [`protocol::Protocol`]: what to send and how to read the answer. [`http::HttpLlm`]
//! makes the calls, with time-outs, retries, cool-down and circuit breaker, the same for all of them.

mod access;
mod anthropic;
pub mod config;
mod echo;
mod error;
mod gateway;
mod gemini;
mod http;
mod model;
mod openai;
mod parameters;
mod protocol;
mod provider;
mod stream;

pub use config::Config;
pub use error::{AiError, Reason};
pub use gateway::{Completed, Gateway, Opened, Target};
pub use model::{Completion, Figures, Message, Prompt, Role, Usage, estimated_tokens};
pub use provider::{Clocks, ListedModel, Llm, Pieces, Vendor};

/// Every vendor, in the order in which an absent default is replaced. `echo` comes last: it is configured only where it is
/// the default.
#[rustfmt::skip] // One line each: a vendor is removed with its lines.
pub static VENDORS: &[&Vendor] = &[
    &openai::VENDOR,
    &anthropic::VENDOR,
    &gemini::VENDOR,
    &echo::VENDOR,
];
