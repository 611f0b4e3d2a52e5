//! Masks secrets and signed tokens in payloads that administrators see.

use serde_json::Value;

const MASK: &str = "***";

/// Parts of the names of members that hold secrets. Names are compared in lower case, without `_` and `-`.
const SECRETS: [&str; 6] = ["token", "secret", "password", "signature", "apikey", "signed"];

/// Returns the payload with the values of secret members masked, and with every text that is a signed token.
pub fn masked(payload: Value) -> Value {
    match payload {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| {
                    let value = if is_secret(&name) { hidden(value) } else { masked(value) };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        Value::String(text) if is_signed_token(&text) => MASK.into(),
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRETS.iter().any(|part| name.contains(part))
}

/// Masks texts and numbers under a secret name. Objects are looked into, and times and flags stay, as in `signedDate`.
fn hidden(value: Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => MASK.into(),
        Value::Array(items) => Value::Array(items.into_iter().map(hidden).collect()),
        other => masked(other),
    }
}

/// Whether the text is a JWS or JWT: three parts in base64url, of which the first is a JSON object.
fn is_signed_token(text: &str) -> bool {
    text.starts_with("eyJ")
        && text.split('.').count() == 3
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_signed_tokens_are_masked_everywhere() {
        let payload = json!({
            "purchaseToken": "abc", "encrypted_password": "$2a$10", "recovery_token": "", "signedDate": 5, "note": "eyJhbGciOiJ9.e30.c2ln",
            "list": [{"client-secret": "x", "name": "Ada"}], "backupTokens": ["a", "b"], "token": {"id": "kept", "apiKey": "k"}
        });
        let shown = json!({
            "purchaseToken": "***", "encrypted_password": "***", "recovery_token": "", "signedDate": 5, "note": "***",
            "list": [{"client-secret": "***", "name": "Ada"}], "backupTokens": ["***", "***"], "token": {"id": "kept", "apiKey": "***"}
        });
        assert_eq!(masked(payload), shown);
    }
}
