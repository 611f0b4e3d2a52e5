//! Server start: first start, restart, and invalid settings.

use serde_json::{Value, json};

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Place, banner_password, mode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_start_without_settings_serves_and_restarts() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::bare().with("PORT", &port.to_string());
    let server = place.serve().await;
    assert_eq!(server.url, format!("http://127.0.0.1:{port}"));
    let ready = server.client(None).get("/public/health/ready").await.expect(200);
    assert_eq!(ready["components"], json!({"database": {"status": "healthy"}, "redis": {"status": "not_configured"}}));

    assert!(place.path("dev.db").is_file());
    assert_eq!(mode(&place.path("data/secret_key")), 0o600);
    let secret = std::fs::read_to_string(place.path("data/secret_key")).unwrap();

    // The commands in the banner work when pasted into a shell.
    let output = server.output();
    assert!(!output.contains(secret.trim()), "the secret is in the output");
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| line.contains("TOKEN")).collect();
    let said = place.shell(&lines.join("\necho\n"));
    let answers: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [me, made] = answers.as_slice() else { panic!("{said}\n{output}") };
    assert_eq!((me["email"].as_str(), me["role"].as_str()), (Some("admin@localhost"), Some("admin")));
    assert_eq!((&made["name"], &made["owner_id"]), (&json!("Apollo"), &me["id"]));
    let password = banner_password(&output);
    let before = server.admin(&password).await;
    server.stop().await;

    // The second start keeps the secret and all data, and creates no second administrator.
    let server = place.serve().await;
    assert!(!server.output().contains(&password) && !server.output().contains("admin@localhost"), "{}", server.output());
    let again = server.admin(&password).await;
    assert_eq!(again.get("/app/users/me").await.expect(200)["id"], me["id"]);
    assert_eq!(again.get("/admin/users").await.expect(200)["total"], 1);
    assert_eq!(again.get("/app/projects").await.expect(200)["items"], json!([made]));
    server.client(before.token).get("/app/users/me").await.expect(200);
    assert_eq!(std::fs::read_to_string(place.path("data/secret_key")).unwrap(), secret);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_start_outside_local_creates_no_admin() {
    let staging = Place::new().with("ENVIRONMENT", "staging").with("SECRET_KEY", "0123456789abcdef0123456789abcdef");
    let server = staging.serve().await;
    assert!(!server.output().contains("admin@localhost"), "{}", server.output());
    assert!(!staging.path("data").exists(), "SECRET_KEY is set, so no secret file is created");
    let server_output = server.stop().await;
    assert!(!server_output.contains("0123456789abcdef"));
    let other_issuer = Place::new().with("OAUTH_JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let server = other_issuer.serve().await;
    assert!(!server.output().contains("admin@localhost"), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_server_listens_on_loopback_unless_told() {
    // Another address of this machine's loopback network, on which only a server on all addresses answers.
    let answers_elsewhere = async |server: &crate::harness::process::Server| {
        tokio::net::TcpStream::connect(server.url.replace("http://127.0.0.1", "127.0.0.2")).await.is_ok()
    };
    let secret = ("SECRET_KEY", "0123456789abcdef0123456789abcdef");
    for (vars, everywhere, warning) in [
        (&[][..], false, None),
        (&[("HOST", "127.0.0.1"), ("MAILBOX_REMOTE", "true")], false, None),
        (
            &[("HOST", "0.0.0.0")],
            true,
            Some("whoever reaches the port can read the mailbox, and so reset every password, as soon as a proxy"),
        ),
        (
            &[("HOST", "0.0.0.0"), ("MAILBOX_REMOTE", "true")],
            true,
            Some("whoever reaches the port can read the mailbox, and so reset every password."),
        ),
        (&[("ENVIRONMENT", "staging"), secret], true, None),
    ] {
        let server = vars.iter().fold(Place::new(), |place, (name, value)| place.with(name, value)).serve().await;
        assert_eq!(answers_elsewhere(&server).await, everywhere, "{vars:?}");
        let output = server.stop().await;
        assert_eq!(output.contains("WARNING"), warning.is_some(), "{vars:?}: {output}");
        assert!(output.contains(warning.unwrap_or_default()), "{vars:?}: {output}");
    }
}

#[tokio::test]
async fn env_file_fills_unset_variables() {
    let place = Place::new().with("PROJECT_NAME", "From outside").with("MAX_BODY_BYTES", "").with("PORT", " ");
    place
        .write(".env", "# comment\nPROJECT_NAME='From the file'\nMAX_BODY_BYTES=4321\nexport PORT=4322\nREDIS_PREFIX='with # and space'\n");
    let shown = place.run(&["config"]).await.expect_ok();
    let value = |name: &str| {
        let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        line.trim_start()[name.len()..].trim().to_owned()
    };
    assert_eq!(value("PROJECT_NAME"), "From outside");
    assert_eq!(value("REDIS_PREFIX"), "with # and space");
    assert_eq!((value("MAX_BODY_BYTES"), value("PORT")), ("4321".to_owned(), "4322".to_owned()), "an empty value counts as unset");
}

#[tokio::test]
async fn start_with_invalid_settings_reports_every_problem() {
    let broken = [
        ("PORT", "hunter2-port", "must be a whole number"),
        ("LOG_LEVEL", "hunter2-level", "must be"),
        ("DEBUG", "hunter2-debug", "must be one of true, false"),
        ("SECRET_KEY", "hunter2-short", "at least 32 characters"),
        ("DATABASE_URL", "mysql://root:hunter2@host/x", "postgres://"),
        ("BACKEND_CORS_ORIGINS", "https://*.hunter2.example", "no part of one can be `*`"),
        ("SECRET_KEY_PREVIOUS", "hunter2-short", "at least 32 characters"),
        ("RATE_LIMIT_DEFAULT", "hunter2/fortnight", "must be"),
        ("REDIS_URL", "http://hunter2", "redis://"),
        ("TRUSTED_PROXIES", "hunter2", "networks"),
    ];
    let place = broken.iter().fold(Place::bare(), |place, (name, value, _)| place.with(name, value));
    for args in [&[][..], &["serve"], &["migrate"], &["config"]] {
        let said = place.run(args).await.expect_refusal();
        assert!(!said.contains("hunter2"), "the output contains a value: {said}");
        for (name, _, reason) in broken {
            let lines: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with(&format!("{name}:"))).collect();
            let [line] = lines.as_slice() else { panic!("{name} must have one line: {said}") };
            assert!(line.contains(reason), "{line}");
            // The reason is followed by a remedy.
            let (_, remedy) = line.split_once(". ").unwrap_or_else(|| panic!("no remedy: {line}"));
            assert!(remedy.len() > 10, "{line}");
        }
    }
    assert!(place.files().is_empty(), "a refused start creates no files: {:?}", place.files());
}

#[tokio::test]
async fn env_file_as_people_have_them_is_read() {
    let place = Place::bare();
    place.write(
        ".env",
        "\u{feff}# My settings\r\nEMAIL_FROM_NAME=Cash$Money\r\nBACKEND_CORS_ORIGINS=[\"http://localhost:3000\", \"http://localhost:5173\"]\r\n\
         PROJECT_NAME = My App # shown in the docs\r\nexport REDIS_PREFIX='a$b'\r\nMAX_BODY_BYTES=1\r\nMAX_BODY_BYTES=4321\r\n",
    );
    let shown = place.run(&["config"]).await.expect_ok();
    for line in [
        "EMAIL_FROM_NAME Cash$Money",
        "BACKEND_CORS_ORIGINS http://localhost:3000,http://localhost:5173",
        "PROJECT_NAME My App",
        "REDIS_PREFIX a$b",
        "MAX_BODY_BYTES 4321",
        "warning: MAX_BODY_BYTES: is set on lines 6 and 7 of .env; the last one counts. Remove the others",
    ] {
        let found = shown.lines().any(|found| found.split_whitespace().eq(line.split_whitespace()));
        assert!(found, "{line}:\n{shown}");
    }
}

#[tokio::test]
async fn env_file_that_cannot_be_read_stops_the_start() {
    for (content, reason) in [
        (&b"PORT=8000\nthis is no assignment hunter2\n"[..], ".env: line 2 is no NAME=value"),
        (b"PORT=8000\n\nPROJECT_NAME='hunter2\n", ".env: line 3 opens a quote that is not closed"),
        (b"\xff\xfeP\0O\0R\0T\0=\0x\0", ".env: is UTF-16 text or no text at all. Save it as UTF-8"),
    ] {
        let place = Place::bare();
        std::fs::write(place.path(".env"), content).unwrap();
        let said = place.run(&[]).await.expect_refusal();
        assert!(said.contains(reason) && !said.contains("hunter2"), "{said}");
        assert_eq!(place.files(), [".env"], "a refused start creates no files");
    }
    // A folder of that name, such as a Python environment, is none of ours.
    let place = Place::bare();
    std::fs::create_dir(place.path(".env")).unwrap();
    place.run(&["config"]).await.expect_ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_on_taken_port_names_the_port() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = Place::bare().with("PORT", &port).run(&[]).await.expect_refusal();
    assert!(said.contains(&port) && said.contains("set HOST and PORT"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_without_auto_migration_requires_migrate_command() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::empty(b).await;
        let place = Place::new().with("DATABASE_URL", &database.url).with("RUN_MIGRATIONS", "false");
        let said = place.run(&[]).await.expect_refusal();
        assert!(said.contains("omnistack migrate"), "{said}");
        place.run(&["migrate"]).await.expect_ok();
        place.serve().await.stop().await;
    }
}
