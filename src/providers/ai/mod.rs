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
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::vendor::VendorSettings;
use crate::platform::config::Env;

pub use config::Config;
pub use error::{AiError, Reason};
pub use gateway::{Completed, Gateway, Opened, Target};
pub use model::{Completion, Figures, Message, Prompt, Role, Usage, estimated_tokens};

/// Every vendor, in the order in which an absent default is replaced. `echo` comes last: it is configured only where it is
/// the default.
#[rustfmt::skip] // One line each: a vendor is removed with its lines.
pub static VENDORS: &[&Vendor] = &[
    &openai::VENDOR,
    &anthropic::VENDOR,
    &gemini::VENDOR,
    &echo::VENDOR,
];

/// Registration of a vendor.
pub struct Vendor {
    /// Its name in `AI_DEFAULT_PROVIDER`, answers and metrics.
    pub name: &'static str,
    /// The model where neither the caller nor the configuration names one.
    pub default_model: &'static str,
    /// Reads its variables, whether or not it is used, so that all of them are documented.
    pub read: fn(&mut Env) -> Arc<dyn VendorSettings<dyn Llm>>,
}

/// A vendor of language models.
#[async_trait]
pub trait Llm: Send + Sync {
    /// The vendor's name in answers, metrics and `AI_DEFAULT_PROVIDER`.
    fn name(&self) -> &'static str;

    /// The model where neither the caller nor the configuration names one.
    fn default_model(&self) -> &'static str;

    /// Returns the whole answer, after retries if necessary.
    async fn complete(&self, model: &str, prompt: &Prompt, by: Instant) -> Result<Completion, AiError>;

    /// Starts a stream and returns it with its first piece read, after retries if necessary.
    async fn stream(&self, model: &str, prompt: &Prompt, clocks: Clocks) -> Result<Box<dyn Pieces>, AiError>;

    /// Whether it stands in for a real vendor during development: then it is used only where `AI_DEFAULT_PROVIDER` names it.
    fn is_stand_in(&self) -> bool {
        false
    }

    /// The models that the vendor offers; `None` if it has no list.
    async fn models(&self) -> Result<Option<Vec<ListedModel>>, AiError>;
}

/// The text of an answer as it is made. Dropping it ends the call to the vendor.
#[async_trait]
pub trait Pieces: Send {
    /// Returns the next piece of text, never empty; `None` after the vendor's own end of the answer. Waits for the vendor only
    /// while it is polled, so a slow reader slows the vendor down. Cancel safe: a call that is dropped loses no piece, and the
    /// wait counts as going on.
    async fn next(&mut self) -> Result<Option<String>, AiError>;

    /// A piece that has arrived already, if there is one.
    fn ready(&mut self) -> Result<Option<String>, AiError>;

    /// The last figures that the vendor sent.
    fn figures(&self) -> Figures;
}

/// Time limits of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// When the first piece must have arrived, after all retries.
    pub first_piece: Instant,
    /// Longest wait for a further piece.
    pub silence: Duration,
    /// When the stream must have ended.
    pub end: Instant,
}

/// A model in a vendor's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    /// The day on which the vendor turns it off.
    pub retires: Option<chrono::NaiveDate>,
}
