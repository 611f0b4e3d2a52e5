//! Asks Apple for the state of a subscription. What it answers is signed as its notices are, and verified as they are.

use serde_json::Value;

use crate::app::App;
use crate::features::app_store::bundle::check_bundle;
use crate::features::app_store::state::State;
use crate::platform::error::{Error, Result};
use crate::providers::ProviderError;
use crate::providers::payments::apple::Config;

/// A subscription as Apple holds it, verified.
pub struct Answer {
    /// Apple's number of the state.
    pub status: i64,
    pub transaction: Value,
    pub renewal: Value,
}

/// `None` if Apple does not know the subscription, or cannot be asked.
pub async fn ask(app: &App, original_id: &str) -> Result<Option<Answer>> {
    let (state, now) = (app.state::<State>(), app.clock.now());
    let Some(client) = state.client() else { return Ok(None) };
    let Some(held) = client.subscription(original_id, now).await.map_err(|error| upstream(&error))? else { return Ok(None) };
    let (verifier, config) = (state.verifier()?, app.settings::<Config>());
    let decode = |jws: Option<String>, bundle: bool| -> Result<Value> {
        let Some(jws) = jws else { return Ok(Value::Null) };
        let payload = verifier.verify(&jws, now).map_err(|why| unusable(why.to_owned()))?;
        check_bundle(config, &payload, bundle).map_err(|error| unusable(error.to_string()))?;
        Ok(payload)
    };
    let (transaction, renewal) = (decode(held.transaction, true)?, decode(held.renewal, false)?);
    if transaction["originalTransactionId"] != original_id {
        return Err(unusable("the transaction is of another subscription".to_owned()));
    }
    Ok(Some(Answer { status: held.status, transaction, renewal }))
}

/// Reports only that the App Store failed; the cause is logged.
fn upstream(error: &ProviderError) -> Error {
    let retry_after = match error {
        ProviderError::Transient { retry_after, .. } => Some(retry_after.map_or(1, |after| after.as_secs().max(1))),
        ProviderError::Rejected(_) | ProviderError::NotConfigured(_) => None,
    };
    failed(retry_after, error.to_string())
}

fn unusable(why: String) -> Error {
    failed(None, why)
}

fn failed(retry_after: Option<u64>, cause: String) -> Error {
    Error::Upstream { message: "The App Store failed", service: "app_store", reason: None, retry_after, cause }
}
