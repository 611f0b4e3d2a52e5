//! Bounds of what an issuer tells of a user, in tokens and in webhooks.

use serde_json::Value;

use crate::platform::text::{cut, fold_email, is_email, is_web_url};

/// Ends of the addresses of users without one.
pub(super) const PLACEHOLDER: &str = "@placeholder.local";

/// The non-empty text of a member, trimmed, free of U+0000.
pub fn text(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// Returns the address as it is stored, if mail can be sent to it and it is not in the domain of placeholders.
pub fn email(text: &str) -> Option<String> {
    let email = fold_email(text);
    let usable = email.chars().count() <= 320 && is_email(&email) && !email.ends_with(PLACEHOLDER);
    usable.then_some(email)
}

/// The name, cut to 255 characters.
pub fn full_name(text: &str) -> String {
    cut(text, 255).to_owned()
}

/// The URL, if it is http or https and at most 2048 characters long.
pub fn avatar_url(text: &str) -> Option<String> {
    is_web_url(text).then(|| text.to_owned())
}
