//! What a job is: a payload with a name, and the code that does the work.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fail::Fail;
use super::model::Run;

/// A kind of work. The value is its payload, kept as a JSON object in the row: ids rather than copies of data, and never a
/// secret. A member may be added with `#[serde(default)]` only, because rows of an older version may be waiting.
///
/// `A` is what the work is done with: the application.
pub trait Job<A>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Stored in rows: never renamed.
    const NAME: &'static str;
    const MAX_ATTEMPTS: i32 = 3;
    /// Time limit of one attempt; an attempt that exceeds it has failed.
    const LIMIT: Duration = Duration::from_secs(300);
    /// Members of the payload that are masked wherever it is shown.
    const SECRETS: &'static [&'static str] = &[];

    /// Makes one attempt. Its value is kept as the job's result (JSON `null` where there is none).
    ///
    /// A job runs *at least* once: it may start again after a crash, so it checks whether its work is done, and passes
    /// [`Run::key`] to vendors that take an idempotency key.
    fn run(self, app: A, run: Run) -> impl Future<Output = Result<Value, Fail>> + Send;
}
