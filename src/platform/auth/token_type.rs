//! Access tokens told apart from the other tokens that an issuer signs with the same key: ID, logout, refresh and security event
//! tokens (RFC 8725 §2.8 and §3.11).

use serde_json::{Map, Value};

/// Media types of access tokens in the header `typ`. `JWT` is what most issuers write, whatever the token is for.
const ACCESS: [&str; 2] = ["jwt", "at+jwt"];

/// Returns whether the header `typ` can be that of an access token. Other values, such as `logout+jwt`, `secevent+jwt`, `dpop+jwt`
/// and those that are not known yet, belong to other kinds of tokens.
pub fn is_access(typ: Option<&str>) -> bool {
    let Some(typ) = typ else { return true };
    // RFC 7515 §4.1.9: the prefix may be omitted. Media types are compared without regard to case.
    let typ = typ.trim().to_ascii_lowercase();
    ACCESS.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

/// Returns whether the claims are those of another kind of token whose header does not say so.
///
/// `nonce` is not among them: Keycloak before version 25 put it into access tokens, too.
pub fn is_of_other_kind(claims: &Map<String, Value>) -> bool {
    let says = |claim: &str, kinds: &[&str]| claims.get(claim).and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind));
    // Security event and logout tokens (RFC 8417; OpenID Connect Back-Channel Logout 1.0 §2.4).
    claims.get("events").is_some_and(Value::is_object)
        // ID tokens (OpenID Connect Core 1.0 §3.1.3.6 and §3.3.2.11): hashes of the access token and the code beside them.
        || claims.contains_key("at_hash")
        || claims.contains_key("c_hash")
        // Amazon Cognito.
        || says("token_use", &["id"])
        // Keycloak.
        || says("typ", &["ID", "Refresh", "Offline", "Logout"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn header_typ_of_other_kinds_is_no_access_token() {
        for access in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("AT+JWT"), Some("application/at+jwt"), Some("application/jwt")]
        {
            assert!(is_access(access), "{access:?}");
        }
        for other in
            ["logout+jwt", "secevent+jwt", "dpop+jwt", "application/dpop+jwt", "JOSE", "id+jwt", "at", "", "text/at+jwt", "application/"]
        {
            assert!(!is_access(Some(other)), "{other}");
        }
    }

    #[test]
    fn claims_of_other_kinds_are_recognised() {
        let other = |claims: Value| is_of_other_kind(claims.as_object().unwrap());
        for claims in [
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            json!({"at_hash": "x"}),
            json!({"c_hash": "x"}),
            json!({"token_use": "id"}),
            json!({"typ": "ID"}),
            json!({"typ": "Refresh"}),
        ] {
            assert!(other(claims.clone()), "{claims}");
        }
        for claims in [json!({}), json!({"token_use": "access"}), json!({"typ": "Bearer"}), json!({"nonce": "x"}), json!({"events": "x"})] {
            assert!(!other(claims.clone()), "{claims}");
        }
    }
}
