//! The log of a production server: every line is JSON, clients cannot forge lines, and no line contains secrets.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::database::{Database, connect};
use crate::harness::process::{Place, Server};
use crate::harness::tokens::claims;
use crate::harness::{Backend, Reply, SECRET};

const METRICS_TOKEN: &str = "hunter2-metrics-token";

/// Settings of a production server with log level DEBUG, and its own database.
async fn production() -> (Database, Place) {
    let database = Database::create(Backend::Postgres).await;
    let place = Place::new()
        .with("ENVIRONMENT", "production")
        .with("PROJECT_NAME", "Acme")
        .with("DATABASE_URL", &database.url)
        .with("SECRET_KEY", "hunter2-secret-key-0123456789-0123456789")
        .with("BACKEND_CORS_ORIGINS", "https://app.example.com")
        .with("AUTH_PROVIDER", "custom")
        .with("OAUTH_JWT_SECRET", SECRET)
        .with("OAUTH_ISSUER", "https://issuer.example")
        .with("METRICS_TOKEN", METRICS_TOKEN)
        .with("SHUTDOWN_DELAY_SECONDS", "0")
        .with("LOG_LEVEL", "DEBUG");
    (database, place)
}

fn token(name: &str) -> String {
    let claims = claims(name, &omnistack::platform::clock::Clock::System);
    claims.with("iss", "https://issuer.example".into()).with("email", format!("{name}.private@example.test").into()).sign(SECRET)
}

/// Parses every line as JSON; panics if a line is not JSON.
fn entries(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The completion line of the request with this response.
#[track_caller]
fn completed<'a>(entries: &'a [Value], reply: &Reply) -> &'a Value {
    let id = reply.header("x-request-id").unwrap();
    let lines: Vec<&Value> = entries.iter().filter(|entry| entry["request_id"] == id && entry.get("status_code").is_some()).collect();
    let [line] = lines.as_slice() else { panic!("{id} must have one completion line: {lines:?}") };
    assert_eq!(line["status_code"], reply.status.as_u16());
    line
}

async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(server.authority()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    // The server may reset the connection after an invalid head.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_in_production_has_required_fields_on_every_line() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (database, place) = production().await;
    let server = place.serve().await;
    let amy = server.client(Some(token("amy")));
    let agent = |call: crate::harness::Call| call.header("user-agent", "Browser/1.0 (X11; \"quoted\")");
    let found = agent(amy.get("/app/users/me").header("x-request-id", "chosen-by-the-client")).await;
    assert_eq!(found.header("x-request-id"), Some("chosen-by-the-client"));
    let absent = agent(amy.get("/app/projects/none")).await;
    let refused = server.client(None).get("/app/users/me").await;
    let unknown = server.client(None).get("/nowhere").await;
    let (db, _) = connect(&database.url).await;
    database.execute(&db, "ALTER TABLE projects RENAME TO elsewhere").await;
    let failed = agent(amy.get("/app/projects")).await;
    db.close().await;
    server.client(None).get("/public/health").await.expect(200);
    server.client(None).get("/public/health/ready").await.expect(200);
    let output = server.stop().await;

    let entries = entries(&output);
    for entry in &entries {
        for member in ["timestamp", "level", "logger", "message", "service", "environment", "version", "source"] {
            assert!(entry.get(member).is_some(), "{member} is missing: {entry}");
        }
        assert_eq!((entry["service"].as_str(), entry["environment"].as_str()), (Some("Acme"), Some("production")));
        let time = entry["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{entry}");
        assert!(["DEBUG", "INFO", "WARNING", "ERROR"].contains(&entry["level"].as_str().unwrap()), "{entry}");
        assert!(entry["source"]["file"].is_string() && entry["source"]["line"].is_u64(), "{entry}");
    }
    for (reply, level, method, path, user) in [
        (&found, "INFO", "GET", "/api/v1/app/users/me", Some("amy")),
        (&absent, "WARNING", "GET", "/api/v1/app/projects/none", Some("amy")),
        (&refused, "WARNING", "GET", "/api/v1/app/users/me", None),
        (&unknown, "WARNING", "GET", "/api/v1/nowhere", None),
        (&failed, "ERROR", "GET", "/api/v1/app/projects", Some("amy")),
    ] {
        let line = completed(&entries, reply);
        assert_eq!((line["level"].as_str(), line["method"].as_str(), line["path"].as_str()), (Some(level), Some(method), Some(path)));
        assert_eq!((line["user_id"].as_str(), line["client_ip"].as_str()), (user, Some("127.0.0.1")), "{line}");
        let took = line["duration_ms"].as_f64().unwrap();
        assert!(took >= 0.0 && ((took * 100.0).round() - took * 100.0).abs() < 1e-6, "{line}");
        assert!(line["user_agent"].is_string(), "{line}");
    }
    assert_eq!(completed(&entries, &found)["user_agent"], "Browser/1.0 (X11; \"quoted\")");

    // The cause of a 500 is only in the log, under the request id.
    failed.clone().expect_error(500, "INTERNAL_ERROR");
    assert!(!failed.text().contains("relation"), "{}", failed.text());
    let id = failed.header("x-request-id").unwrap();
    let cause = entries.iter().find(|entry| entry["request_id"] == id && entry.get("exception").is_some()).unwrap();
    assert_eq!(cause["level"], "ERROR");
    assert!(cause["exception"]["type"].is_string() && cause["exception"]["message"].is_string(), "{cause}");
    assert!(cause["exception"]["traceback"].to_string().contains("projects"), "{cause}");
    // Each request has a start entry before its completion entry; probes are not logged.
    let of_found: Vec<&Value> = entries.iter().filter(|entry| entry["request_id"] == "chosen-by-the-client").collect();
    assert_eq!(of_found.first().unwrap()["message"], "request started", "{of_found:?}");
    assert!(!output.contains("/public/health"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_cannot_be_forged_by_clients() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (_database, place) = production().await;
    let server = place.serve().await;
    let forged = r#"{"level":"ERROR","message":"forged"}"#;
    let amy = server.client(Some(token("amy")));
    let quoted = amy.get("/app/users/me").header("user-agent", format!("\",\"level\":\"CRITICAL\",\"x\":\"\t{forged}\\")).await;
    let encoded = amy.get("/app/projects/%0d%0a%7B%22level%22%3A%22forged%22%7D").header("user-agent", b"\xff\xfe caf\xc3\xa9").await;
    let separator = amy.get("/app/users/me").header("user-agent", "a\u{2028}b\u{85}c".as_bytes()).await;
    // Malformed requests.
    for head in [
        format!("GET /api/v1/nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\nuser-agent: x\r{forged}\r\n\r\n"),
        format!("GET /api/v1/nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\nuser-agent: x\n{forged}\r\n\r\n"),
        format!("GET /api/v1/a\"{forged} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        format!("GET /api/v1/\u{1b}[31m HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: {forged}\r\n\r\n"),
        format!("{forged}\n{forged}\n\n"),
    ] {
        raw(&server, head.as_bytes()).await;
    }
    let output = server.stop().await;
    let breaks = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    assert!(!output.contains(breaks), "{}", output.lines().filter(|line| line.contains(breaks)).collect::<String>().escape_debug());
    let entries = entries(&output);
    assert!(entries.iter().all(|entry| entry["level"] != "CRITICAL" && entry["message"] != "forged"), "{output}");
    assert!(completed(&entries, &quoted)["user_agent"].as_str().unwrap().contains("CRITICAL"));
    assert_eq!(completed(&entries, &encoded)["path"], "/api/v1/app/projects/%0d%0a%7B%22level%22%3A%22forged%22%7D");
    assert_eq!(completed(&entries, &separator)["user_agent"], "a\u{2028}b\u{85}c", "line separators are escaped, not removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_of_a_full_session_contains_no_secrets() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (database, place) = production().await;
    let server = place.serve().await;
    let (good, other_issuer) = (token("amy"), claims("amy", &omnistack::platform::clock::Clock::System).sign("hunter2-wrong-secret"));
    let amy = server.client(Some(good.clone()));
    let query = "search=hunter2-query&token=hunter2-url-token";
    amy.get(&format!("/app/projects?{query}")).await.expect(200);
    amy.get("/app/projects?search=hunter2-query")
        .header("cookie", "session=hunter2-cookie")
        .header("x-api-key", "hunter2-api-key")
        .await
        .expect(200);
    amy.get("/app/projects?limit=hunter2").await.expect_error(422, "VALIDATION_ERROR");
    amy.post("/app/projects", serde_json::json!({"name": "hunter2-name", "description": "hunter2-text"}))
        .key("hunter2-key")
        .await
        .expect(201);
    amy.call(http::Method::POST, "/app/projects").body("application/json", "{hunter2").await.expect_error(400, "BAD_REQUEST");
    amy.patch("/app/users/me", serde_json::json!({"full_name": "hunter2-full-name"})).await.expect(200);
    server.client(Some(other_issuer.clone())).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    server.client(Some("hunter2.not.a-token".to_owned())).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    server.client(None).get("/app/users/me").header("authorization", "Basic hunter2-basic").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(server.client(Some(METRICS_TOKEN.to_owned())).get("/public/metrics").await.status, 200);
    // A token of another user with an e-mail address that is already taken.
    let claims = claims("amy-again", &omnistack::platform::clock::Clock::System).with("iss", "https://issuer.example".into());
    let twin = claims.with("email", "amy.private@example.test".into()).sign(SECRET);
    server.client(Some(twin.clone())).get("/app/users/me").await.expect_error(409, "CONFLICT");
    let (db, _) = connect(&database.url).await;
    database.execute(&db, "ALTER TABLE projects DROP COLUMN description").await;
    amy.post("/app/projects", serde_json::json!({"name": "hunter2-name"})).await.expect_error(500, "INTERNAL_ERROR");
    db.close().await;
    let output = server.stop().await;
    entries(&output);
    // A masked address is the only allowed form.
    let output = output.replace("a***@example.test", "");
    for secret in ["hunter2", SECRET, &good, &other_issuer, &twin, "private@", "@example.test", "Bearer", "Basic", "search="] {
        assert!(!output.contains(secret), "leaked {secret}:\n{}", output.lines().filter(|line| line.contains(secret)).collect::<String>());
    }
    // Parts of a token must not appear either.
    let signature = good.rsplit('.').next().unwrap();
    assert!(!output.contains(signature), "{output}");
}

/// A signed link's token is a secret, also in a path that no route matches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_never_shows_token_of_signed_link() {
    let place = Place::new().with("LOG_LEVEL", "DEBUG").with("METRICS_TOKEN", METRICS_TOKEN).with("SHUTDOWN_DELAY_SECONDS", "0");
    let server = place.serve().await;
    let token = "eyJrIjoiaHVudGVyMiJ9.hunter2-c2lnbmF0dXJl_hunter2";
    let link = format!("/api/v1/public/storage/download/{token}");
    let mut paths = Vec::new();
    for behind in ["", "/", "//x", "/x/y", "?x=1", "?", "/?x", "%2F", "%2Fx", "/%2e%2e", ";x", "/..", "%00", "/%ff"] {
        paths.push(format!("{link}{behind}"));
        paths.push(format!("{}{behind}", link.replace("download", "upload")));
    }
    for (from, to) in
        [("/download/", "//download//"), ("/download/", "/Download/"), ("/download/", "/download%2F"), ("/api/", "/proxy/api/")]
    {
        paths.push(link.replace(from, to));
    }
    paths.extend([format!("/api/v1/public/storage/{token}"), format!("/storage/download/{token}"), link.replace("download", "%64ownload")]);
    for path in &paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PROPFIND", "OPTIONS", "HEAD"] {
            let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            raw(&server, head.as_bytes()).await;
        }
    }
    let metrics = server.client(Some(METRICS_TOKEN.to_owned())).get("/public/metrics").await.expect_text(200);
    let output = server.stop().await;
    assert!(output.matches("/storage/download/").count() > 100, "paths are logged:\n{output}");
    for text in [&metrics, &output] {
        let leaks: String = text.lines().filter(|line| line.contains("hunter2") || line.contains("eyJr")).collect();
        assert!(leaks.is_empty(), "{leaks}");
    }
}
