//! What a vendor offers to the gateway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::error::AiError;
use super::model::{Completion, Figures, Prompt};
use crate::platform::config::Env;
use crate::providers::vendor::VendorSettings;

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
