//! The [`Job`] trait: a named payload and the code that does the work.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fail::Fail;
use super::model::Run;

/// A kind of work. The value is its payload, kept as a JSON object in the row: ids rather than copies of data, and never a
/// secret. A member may be added with `#[serde(default)]` only, because rows of an older version may be waiting.
///
/// `A` is the application that the job runs with.
pub trait Job<A>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the function. Stored in rows: never rename it.
    const NAME: &'static str;
    const MAX_ATTEMPTS: i32 = 3;
    /// Time limit of one attempt; an attempt that exceeds it has failed.
    const LIMIT: Duration = Duration::from_secs(300);
    /// Members of the payload that are masked wherever it is shown.
    const SECRETS: &'static [&'static str] = &[];

    /// Members of the result that administrators may see; `None` for all. Results are values, not documents: what is large or
    /// personal belongs into a table or the object storage.
    const SHOWN_RESULT: Option<&'static [&'static str]> = None;

    /// Runs one attempt. The returned value is stored as the job's result (JSON `null` if there is none).
    ///
    /// A job runs *at least* once: it may start again after a crash, so it checks whether its work is done, and passes
    /// [`Run::key`] to vendors that take an idempotency key.
    fn run(self, app: A, run: Run) -> impl Future<Output = Result<Value, Fail>> + Send;
}
