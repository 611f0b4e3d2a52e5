//! Whether what Apple signed is about this app: it signs for all others as well.

use serde_json::Value;

use crate::platform::error::{Error, Result};
use crate::providers::payments::apple::Config;

/// Refuses what names another app. `required`: and what names none.
pub fn check_bundle(config: &Config, about: &Value, required: bool) -> Result<()> {
    let given = about.get("bundleId").filter(|given| !given.is_null());
    if given.is_none() && !required {
        return Ok(());
    }
    match (given.and_then(Value::as_str), config.bundle_id.as_deref()) {
        (Some(given), Some(ours)) if given == ours => Ok(()),
        _ => Err(Error::BadRequest("The bundle id is not that of this app".to_owned())),
    }
}
