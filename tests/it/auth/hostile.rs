//! Invalid tokens: each is refused with 401, and the response does not reveal the reason.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::harness::issuer::{ec_key, rsa_key};
use crate::harness::tokens::{Claims, base64url, claims, seal, signed_part};
use crate::harness::{Backend, Reply, SECRET, TestApp};

const INVALID: &str = "Invalid token";
const EXPIRED: &str = "Token has expired";
const NOBODY: &str = "Not authenticated";

/// Checks for a 401 with this message, a `WWW-Authenticate` header and no details.
#[track_caller]
fn refused(what: &str, reply: Reply, message: &str) {
    assert_eq!(reply.status.as_u16(), 401, "{what}: {}", reply.text());
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{what}");
    assert_eq!(reply.json()["error"]["message"], message, "{what}");
    assert_eq!(reply.expect_error(401, "AUTHENTICATION_ERROR"), json!({}), "{what}");
}

async fn refused_as_token(t: &TestApp, what: &str, token: &str, message: &str) {
    refused(what, t.with_token(token).get("/app/users/me").await, message);
    refused(what, t.with_token(token).get("/admin/users").await, message);
}

/// Claims that pass all checks if the token is signed correctly.
fn mallory(t: &TestApp) -> Claims {
    claims("mallory", &t.clock).with("role", "superadmin".into())
}

/// Checks that the refused requests created no user, and that a valid token is accepted.
async fn made_no_user(t: &TestApp) {
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
    // Control: the same claims with a valid signature are accepted.
    t.with_token(&mallory(t).sign(SECRET)).get("/admin/users").await.expect(200);
}

#[tokio::test]
async fn auth_header_without_bearer_token_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    let good = mallory(&t).sign(SECRET);
    refused("no header", t.anonymous().get("/app/users/me").await, NOBODY);
    for header in ["", "Bearer", "Bearer ", "Basic bWFsbG9yeTpwdw==", "Token abc", "Bearerabc", &format!("Basic {good}"), &good] {
        refused(header, t.anonymous().get("/app/users/me").header("authorization", header).await, NOBODY);
    }
    for header in ["Bearer a b c", "Bearer junk", &format!("Bearer {good} {good}"), &format!("Bearer Bearer {good}"), "Bearer \u{e9}.é.é"]
    {
        refused(header, t.anonymous().get("/app/users/me").header("authorization", header).await, INVALID);
    }
    let latin = [b"Bearer ".as_slice(), &[0xe9, 0xff]].concat();
    refused("not ASCII", t.anonymous().get("/app/users/me").header("authorization", latin).await, INVALID);
    made_no_user(&t).await;
    for scheme in ["bearer", "BEARER"] {
        t.anonymous().get("/app/users/me").header("authorization", format!("{scheme} {good}")).await.expect(200);
    }
}

#[tokio::test]
async fn token_outside_authorization_header_is_ignored() {
    let t = TestApp::start(Backend::Sqlite).await;
    let good = mallory(&t).sign(SECRET);
    for name in ["token", "access_token", "jwt", "authorization"] {
        refused(name, t.anonymous().get("/app/users/me").query(&[(name, &good)]).await, NOBODY);
        refused(name, t.anonymous().get("/app/users/me").header("cookie", format!("{name}={good}")).await, NOBODY);
    }
    for name in ["x-access-token", "x-auth-token", "proxy-authorization"] {
        refused(name, t.anonymous().get("/app/users/me").header(name, format!("Bearer {good}")).await, NOBODY);
    }
    made_no_user(&t).await;
}

#[tokio::test]
async fn token_malformed_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    let good = mallory(&t).sign(SECRET);
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let secret = SECRET.as_bytes();
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    let plain = mallory(&t).with("pad", "?>?>?>~~~".into()).body.to_string();
    let standard = STANDARD_NO_PAD.encode(&plain);
    assert!(standard.contains(['+', '/']), "{standard}");
    let long = mallory(&t).with("pad", "x".repeat(8 * 1024).into()).sign(SECRET);
    for (what, token) in [
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as an encrypted token has", format!("{header}..{payload}.{signature}.x")),
        ("only dots", "..".to_owned()),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("padding in the header", seal(&format!("{header}=.{payload}"), secret)),
        ("padding in the payload", seal(&format!("{header}.{payload}=="), secret)),
        ("padding in the signature", format!("{good}=")),
        ("the other base64 alphabet", seal(&format!("{header}.{standard}"), secret)),
        ("no base64 at all", seal("!!!.???", secret)),
        ("a header that is text", seal(&signed_part("hello", &plain), secret)),
        ("a header that is a list", seal(&signed_part(r#"["HS256"]"#, &plain), secret)),
        ("a header without alg", seal(&signed_part(r#"{"typ":"JWT"}"#, &plain), secret)),
        ("alg that is a number", seal(&signed_part(r#"{"alg":256}"#, &plain), secret)),
        ("alg twice", seal(&signed_part(r#"{"alg":"none","alg":"HS256"}"#, &plain), secret)),
        ("a payload that is text", seal(&signed_part(hs256, "hello"), secret)),
        ("a payload that is a list", seal(&signed_part(hs256, format!("[{plain}]")), secret)),
        ("a payload that is null", seal(&signed_part(hs256, "null"), secret)),
        ("a payload that is no UTF-8", seal(&signed_part(hs256, b"{\"sub\":\"\xff\"}"), secret)),
        ("an empty payload", seal(&signed_part(hs256, ""), secret)),
        ("longer than 8 KiB", long),
    ] {
        refused_as_token(&t, what, &token, INVALID).await;
    }
    made_no_user(&t).await;
}

#[tokio::test]
async fn token_with_wrong_signature_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    let body = mallory(&t).body;
    let good = mallory(&t).sign(SECRET);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = claims("somebody", &t.clock).sign(SECRET);
    let tampered = signed_part(r#"{"alg":"HS256"}"#, mallory(&t).with("sub", "root".into()).body.to_string());
    let mut cases = vec![
        ("HS384 with the right secret", mallory(&t).alg(Algorithm::HS384).sign(SECRET)),
        ("HS512 with the right secret", mallory(&t).alg(Algorithm::HS512).sign(SECRET)),
        ("RS256 where a secret is configured", rsa_key(0).token("k", &body)),
        ("ES256 where a secret is configured", ec_key(0).token("k", &body)),
        ("the empty secret", mallory(&t).sign("")),
        ("another secret", mallory(&t).sign("another-secret-of-32-characters-or-more-")),
        ("the secret in other case", mallory(&t).sign(&SECRET.to_uppercase())),
        ("a changed payload", format!("{tampered}.{signature}")),
        ("the signature of another token", format!("{message}.{}", other.rsplit_once('.').unwrap().1)),
        ("half a signature", format!("{message}.{}", &signature[..20])),
        ("a signature and more", format!("{message}.{signature}AAAA")),
        ("crit", seal(&signed_part(r#"{"alg":"HS256","crit":["exp"]}"#, body.to_string()), SECRET.as_bytes())),
        ("crit that is empty", seal(&signed_part(r#"{"alg":"HS256","crit":[]}"#, body.to_string()), SECRET.as_bytes())),
        ("a key of its own in the header", {
            let jwk = json!({"alg": "RS256", "jwk": rsa_key(0).jwk(), "jku": "http://127.0.0.1:1/keys"});
            rsa_key(0).sign(&jwk, &body)
        }),
    ];
    for none in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"] {
        let unsigned = signed_part(json!({"alg": none}).to_string(), body.to_string());
        cases.push(("no algorithm, no signature", format!("{unsigned}.")));
        cases.push(("no algorithm, a signature all the same", seal(&unsigned, SECRET.as_bytes())));
        cases.push(("no algorithm, a signature by the empty key", seal(&unsigned, b"")));
    }
    for (what, token) in cases {
        refused_as_token(&t, what, &token, INVALID).await;
    }
    made_no_user(&t).await;
}

#[tokio::test]
async fn token_outside_validity_period_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    let now = t.clock.now().timestamp();
    for (what, claims, message) in [
        ("expired", mallory(&t).with("exp", (now - 31).into()), EXPIRED),
        ("expired long ago", mallory(&t).with("exp", 0.into()), EXPIRED),
        ("expired before time began", mallory(&t).with("exp", (-5).into()), EXPIRED),
        ("exp as low as numbers go", mallory(&t).with("exp", i64::MIN.into()), EXPIRED),
        (
            "expired by half a second and the leeway",
            mallory(&t).with("exp", json!(f64::from(i32::try_from(now - 31).unwrap()) + 0.5)),
            EXPIRED,
        ),
        ("no exp", mallory(&t).without("exp"), INVALID),
        ("exp as text", mallory(&t).with("exp", (now + 3600).to_string().into()), INVALID),
        ("exp null", mallory(&t).with("exp", Value::Null), INVALID),
        ("exp true", mallory(&t).with("exp", true.into()), INVALID),
        ("exp a list", mallory(&t).with("exp", json!([now + 3600])), INVALID),
        ("exp an object", mallory(&t).with("exp", json!({"at": now + 3600})), INVALID),
        ("nbf ahead", mallory(&t).with("nbf", (now + 31).into()), INVALID),
        ("nbf far ahead", mallory(&t).with("nbf", json!(1e300)), INVALID),
        ("iat ahead", mallory(&t).with("iat", (now + 31).into()), INVALID),
        ("iat far ahead", mallory(&t).with("iat", i64::MAX.into()), INVALID),
    ] {
        refused_as_token(&t, what, &claims.sign(SECRET), message).await;
    }
    let beyond_numbers = format!(r#"{{"sub":"mallory","exp":1{}}}"#, "0".repeat(400));
    refused_as_token(&t, "exp beyond numbers", &seal(&signed_part(r#"{"alg":"HS256"}"#, beyond_numbers), SECRET.as_bytes()), INVALID).await;
    made_no_user(&t).await;
    // Accepted: dates beyond the calendar are in the future, and `nbf` or `iat` of a wrong type count as absent.
    for (name, value) in [
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("nbf", json!("soon")),
        ("nbf", json!(now - 1)),
        ("iat", json!([])),
        ("iat", Value::Null),
    ] {
        t.with_token(&mallory(&t).with(name, value).sign(SECRET)).get("/app/users/me").await.expect(200);
    }
}

#[tokio::test]
async fn token_without_valid_subject_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    refused_as_token(&t, "no sub", &mallory(&t).without("sub").sign(SECRET), INVALID).await;
    let long = "x".repeat(256);
    for sub in [
        json!(""),
        Value::Null,
        json!(7),
        json!(true),
        json!(["mallory"]),
        json!({"id": "mallory"}),
        json!(long),
        json!("mal\u{0}lory"),
        json!("mal\nlory"),
        json!("mallory\u{7f}"),
        json!("mal\u{85}lory"),
    ] {
        refused_as_token(&t, &format!("sub {sub}"), &mallory(&t).with("sub", sub).sign(SECRET), INVALID).await;
    }
    made_no_user(&t).await;
    // Accepted: the maximum length (in characters, not bytes), and characters that other issuers use.
    for sub in ["ü".repeat(255), "auth0|5f7c".to_owned(), "../../etc/passwd".to_owned(), "a b".to_owned(), "' OR 1=1 --".to_owned()] {
        let claims = claims("x", &t.clock).with("sub", sub.as_str().into()).without("email");
        assert_eq!(t.with_token(&claims.sign(SECRET)).get("/app/users/me").await.expect(200)["id"], sub);
    }
}

#[tokio::test]
async fn token_with_other_issuer_or_audience_is_refused() {
    let t = TestApp::with(Backend::Sqlite, &[("OAUTH_ISSUER", "https://id.example"), ("OAUTH_AUDIENCE", "api")]).await;
    let ours = mallory(&t).with("iss", "https://id.example".into()).with("aud", "api".into());
    for (what, claims) in [
        ("no iss", ours.clone().without("iss")),
        ("another iss", ours.clone().with("iss", "https://evil.example".into())),
        ("iss with a slash", ours.clone().with("iss", "https://id.example/".into())),
        ("a longer iss", ours.clone().with("iss", "https://id.example.evil.example".into())),
        ("a list of iss", ours.clone().with("iss", json!(["https://id.example"]))),
        ("no aud", ours.clone().without("aud")),
        ("another aud", ours.clone().with("aud", "web".into())),
        ("aud in other case", ours.clone().with("aud", "API".into())),
        ("an empty list of aud", ours.clone().with("aud", json!([]))),
        ("a list without ours", ours.clone().with("aud", json!(["web", 5, null]))),
        ("aud an object", ours.clone().with("aud", json!({"api": true}))),
        ("aud null", ours.clone().with("aud", Value::Null)),
    ] {
        refused_as_token(&t, what, &claims.sign(SECRET), INVALID).await;
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
    t.with_token(&ours.sign(SECRET)).get("/app/users/me").await.expect(200);
    t.with_token(&ours.with("aud", json!(["web", 5, "api"])).sign(SECRET)).get("/app/users/me").await.expect(200);
}

#[tokio::test]
async fn token_any_issuer_is_accepted_when_none_is_configured() {
    let t = TestApp::start(Backend::Sqlite).await;
    for (iss, aud) in [(json!("https://a.example"), json!("web")), (json!(5), json!(["x"])), (Value::Null, Value::Null)] {
        let token = mallory(&t).with("iss", iss).with("aud", aud).sign(SECRET);
        t.with_token(&token).get("/app/users/me").await.expect(200);
    }
}

#[tokio::test]
async fn token_used_before_still_expires() {
    let t = TestApp::start(Backend::Sqlite).await;
    let token = mallory(&t).with("exp", (t.clock.now().timestamp() + 40).into()).sign(SECRET);
    let client = t.with_token(&token);
    for _ in 0..2 {
        client.get("/app/users/me").await.expect(200);
    }
    t.clock.advance(TimeDelta::seconds(39));
    client.get("/app/users/me").await.expect(200);
    // The allowed clock skew is 30 seconds.
    t.clock.advance(TimeDelta::seconds(31));
    refused("expired", client.get("/app/users/me").await, EXPIRED);
}

#[tokio::test]
async fn claims_of_wrong_type_count_as_absent() {
    let t = TestApp::start(Backend::Sqlite).await;
    let odd = [Value::Null, json!(5), json!(["a"]), json!({"a": {"b": 1}}), json!("text"), json!(false), json!("nul\u{0}")];
    for (n, value) in odd.iter().enumerate() {
        let subject = format!("odd-{n}");
        let mut claims = claims(&subject, &t.clock).without("email");
        for name in ["email", "name", "full_name", "picture", "avatar_url", "user_metadata", "app_metadata", "role", "user_role", "jti"] {
            claims = claims.with(name, value.clone());
        }
        let me = t.with_token(&claims.sign(SECRET)).get("/app/users/me").await.expect(200);
        assert_eq!((&me["id"], &me["role"], &me["avatar_url"]), (&json!(subject), &json!("user"), &Value::Null), "{value}");
    }
    // Deeply nested JSON is refused and does not overflow the stack.
    let deep = format!(r#"{{"sub":"deep","exp":9999999999,"x":{}{}}}"#, "[".repeat(1500), "]".repeat(1500));
    refused_as_token(&t, "deep", &seal(&format!("{}.{}", base64url(r#"{"alg":"HS256"}"#), base64url(deep)), SECRET.as_bytes()), INVALID)
        .await;
}

#[tokio::test]
async fn token_of_another_kind_is_refused() {
    let t = TestApp::start(Backend::Sqlite).await;
    let signed = |typ: Value, claims: Claims| {
        let header = json!({"alg": "HS256", "typ": typ});
        seal(&signed_part(header.to_string(), claims.body.to_string()), SECRET.as_bytes())
    };
    for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", "LOGOUT+JWT", "application/dpop+jwt", "id+jwt", "JOSE", "x"] {
        refused_as_token(&t, typ, &signed(typ.into(), mallory(&t)), INVALID).await;
    }
    for (name, value) in [
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
        ("at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng")),
        ("c_hash", json!("LDktKdoQak3Pk0cnXxCltA")),
        ("token_use", json!("id")),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
    ] {
        refused_as_token(&t, name, &signed("JWT".into(), mallory(&t).with(name, value)), INVALID).await;
    }
    made_no_user(&t).await;
    for typ in [json!("JWT"), json!("jwt"), json!("at+jwt"), json!("AT+JWT"), json!("application/at+jwt"), Value::Null] {
        let claims = mallory(&t).with("typ", "Bearer".into()).with("token_use", "access".into()).with("nonce", "n".into());
        t.with_token(&signed(typ, claims)).get("/admin/users").await.expect(200);
    }
}
