//! Settings that production refuses or warns about. Each refusal names the variable and how to correct it, never the value.

use crate::harness::process::Place;

const STRONG: &str = "0123456789abcdef0123456789abcdef";

/// Settings that production accepts without a warning.
const SOUND: [(&str, &str); 12] = [
    ("ENVIRONMENT", "production"),
    ("SECRET_KEY", STRONG),
    ("DATABASE_URL", "postgres://app:pw@db.internal/app?sslmode=require"),
    ("BACKEND_CORS_ORIGINS", "https://app.example.com,capacitor://localhost"),
    ("REDIS_URL", "rediss://cache.internal"),
    ("PUBLIC_BASE_URL", "https://api.example.com"),
    ("EMAIL_PROVIDER", "resend"),
    ("RESEND_API_KEY", "re_123"),
    ("STORAGE_PROVIDER", "r2"),
    ("METRICS_TOKEN", "sixteen-letters!"),
    ("WS_PRESENCE", "admins"),
    ("WS_OPEN_ROOMS", "false"),
];

const R2: [(&str, &str); 4] =
    [("R2_ACCOUNT_ID", "account"), ("R2_ACCESS_KEY_ID", "key"), ("R2_SECRET_ACCESS_KEY", "secret"), ("R2_BUCKET", "bucket")];

fn sound() -> Place {
    SOUND.iter().chain(&R2).fold(Place::bare(), |place, (name, value)| place.with(name, value))
}

/// The lines that `omnistack config` prints with these changes, and whether it refuses them.
async fn said(changes: &[(&str, &str)]) -> (i32, Vec<String>) {
    let place = changes.iter().fold(sound(), |place, (name, value)| place.with(name, value));
    let outcome = place.run(&["config"]).await;
    let text = if outcome.code == 0 { outcome.out } else { outcome.err };
    let told = text.lines().filter(|line| outcome.code != 0 || line.starts_with("warning: "));
    (outcome.code, told.map(|line| line.trim_start_matches("warning: ").trim().to_owned()).collect())
}

#[tokio::test]
async fn production_sound_settings_start_without_warnings() {
    assert_eq!(said(&[]).await, (0, vec![]));
    for settings in [
        &[("AUTH_ARGON2_MEMORY_KIB", "7168"), ("AUTH_ARGON2_ITERATIONS", "5")][..],
        &[("AUTH_ARGON2_MEMORY_KIB", "65536"), ("AUTH_ARGON2_ITERATIONS", "3")],
        &[("TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8")],
        &[("AUTH_LINK_BASE_URL", "https://app.example.com/en")],
        &[("AUTH_PROVIDER", "supabase"), ("SUPABASE_JWT_SECRET", STRONG), ("SUPABASE_PROJECT_URL", "https://x.supabase.co")],
        &[("AUTH_PROVIDER", "custom"), ("OAUTH_JWT_SECRET", STRONG), ("OAUTH_ISSUER", "https://id.example"), ("OAUTH_AUDIENCE", "api")],
        &[("DATABASE_URL", "postgres://app@/app?host=/cloudsql/p:r:i")],
        &[("DATABASE_URL", "postgres://app@127.0.0.1/app"), ("REDIS_URL", "redis://[::1]:6379")],
        &[("SECRET_KEY_PREVIOUS", "abcdef0123456789abcdef0123456789")],
    ] {
        assert_eq!(said(settings).await, (0, vec![]), "{settings:?}");
    }
}

#[tokio::test]
async fn production_weak_settings_are_refused_by_name() {
    for (name, changes) in [
        ("DEBUG", &[("DEBUG", "true")][..]),
        ("SECRET_KEY", &[("SECRET_KEY", "")]),
        ("SECRET_KEY", &[("SECRET_KEY", "hunter2")]),
        ("SECRET_KEY", &[("SECRET_KEY", "change-me-hunter2-change-me-change-me")]),
        ("SECRET_KEY", &[("SECRET_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]),
        ("SECRET_KEY_PREVIOUS", &[("SECRET_KEY_PREVIOUS", "hunter2")]),
        ("SECRET_KEY_PREVIOUS", &[("SECRET_KEY_PREVIOUS", "your-super-secret-hunter2-0123456789abcdef")]),
        ("DATABASE_URL", &[("DATABASE_URL", "")]),
        ("DATABASE_URL", &[("DATABASE_URL", "sqlite:///hunter2.db")]),
        ("BACKEND_CORS_ORIGINS", &[("BACKEND_CORS_ORIGINS", "http://hunter2.example.com")]),
        ("BACKEND_CORS_ORIGINS", &[("BACKEND_CORS_ORIGINS", "*")]),
        ("BACKEND_CORS_ORIGINS", &[("BACKEND_CORS_ORIGINS", "https://*.hunter2.example")]),
        ("BACKEND_CORS_ORIGINS", &[("BACKEND_CORS_ORIGINS", "")]),
        ("PUBLIC_BASE_URL", &[("PUBLIC_BASE_URL", "http://hunter2.example.com")]),
        ("AUTH_LINK_BASE_URL", &[("AUTH_LINK_BASE_URL", "http://hunter2.example.com")]),
        ("AUTH_LINK_BASE_URL", &[("PUBLIC_BASE_URL", "")]),
        ("TRUSTED_PROXIES", &[("TRUSTED_PROXIES", "10.0.0.0/8, 0.0.0.0/0")]),
        ("TRUSTED_PROXIES", &[("TRUSTED_PROXIES", "::/0")]),
        ("TRUSTED_PROXIES", &[("TRUSTED_PROXIES", "203.0.113.7/0")]),
        ("AUTH_ARGON2_MEMORY_KIB", &[("AUTH_ARGON2_MEMORY_KIB", "7167"), ("AUTH_ARGON2_ITERATIONS", "5")]),
        ("AUTH_ARGON2_MEMORY_KIB", &[("AUTH_ARGON2_MEMORY_KIB", "19455")]),
        ("AUTH_ARGON2_ITERATIONS", &[("AUTH_ARGON2_ITERATIONS", "1")]),
        ("METRICS_TOKEN", &[("METRICS_TOKEN", "hunter2-fifteen")]),
        ("AUTH_PROVIDER", &[("AUTH_PROVIDER", "supabase")]),
        ("SUPABASE_PROJECT_URL", &[("AUTH_PROVIDER", "supabase"), ("SUPABASE_JWT_SECRET", "hunter2-0123456789abcdef0123456789abcdef")]),
        ("SUPABASE_PROJECT_URL", &[("AUTH_PROVIDER", "supabase"), ("SUPABASE_PROJECT_URL", "http://hunter2.supabase.co")]),
        (
            "SUPABASE_JWT_SECRET",
            &[("AUTH_PROVIDER", "supabase"), ("SUPABASE_JWT_SECRET", "hunter2"), ("SUPABASE_PROJECT_URL", "https://x.supabase.co")],
        ),
        ("CLERK_ISSUER_URL", &[("AUTH_PROVIDER", "clerk"), ("CLERK_ISSUER_URL", "http://hunter2.clerk.accounts.dev")]),
        (
            "OAUTH_JWKS_URL",
            &[
                ("AUTH_PROVIDER", "custom"),
                ("OAUTH_JWKS_URL", "http://hunter2.example/jwks"),
                ("OAUTH_ISSUER", "https://id.example"),
                ("OAUTH_AUDIENCE", "api"),
            ],
        ),
        ("OAUTH_ISSUER", &[("AUTH_PROVIDER", "custom"), ("OAUTH_JWT_SECRET", STRONG), ("OAUTH_AUDIENCE", "api")]),
        (
            "OAUTH_JWT_SECRET",
            &[
                ("AUTH_PROVIDER", "custom"),
                ("OAUTH_JWT_SECRET", "hunter2"),
                ("OAUTH_ISSUER", "https://id.example"),
                ("OAUTH_AUDIENCE", "api"),
            ],
        ),
        ("CLERK_WEBHOOK_SECRET", &[("AUTH_PROVIDER", "local"), ("CLERK_WEBHOOK_SECRET", "hunter2 is no secret")]),
        ("CLERK_WEBHOOK_SECRET", &[("AUTH_PROVIDER", "local"), ("CLERK_WEBHOOK_SECRET", "whsec_aHVudGVyMg==")]),
        ("SUPABASE_WEBHOOK_SECRET", &[("AUTH_PROVIDER", "local"), ("SUPABASE_WEBHOOK_SECRET", "hunter2")]),
        ("RESEND_API_KEY", &[("RESEND_API_KEY", "")]),
        ("R2_BUCKET", &[("R2_BUCKET", "")]),
    ] {
        let (code, lines) = said(changes).await;
        assert_eq!(code, 1, "{changes:?}: {lines:?}");
        // The first line counts the problems.
        let [_, line] = lines.as_slice() else { panic!("{changes:?} must be one problem: {lines:?}") };
        assert!(line.starts_with(&format!("{name}: ")), "{changes:?}: {line}");
        let (_, remedy) = line.split_once(". ").unwrap_or_else(|| panic!("no remedy: {line}"));
        assert!(remedy.len() > 10 && !line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn production_risky_settings_are_warned_of_by_name() {
    for (name, change) in [
        ("RATE_LIMIT_ENABLED", ("RATE_LIMIT_ENABLED", "false")),
        ("REDIS_URL", ("REDIS_URL", "")),
        ("REDIS_URL", ("REDIS_URL", "redis://:hunter2@cache.internal")),
        ("DATABASE_URL", ("DATABASE_URL", "postgres://app:hunter2@db.internal/app")),
        ("DATABASE_URL", ("DATABASE_URL", "postgres://app:hunter2@[fd00::7]/app?sslmode=prefer")),
        ("DATABASE_URL", ("DATABASE_URL", "postgres://app:hunter2@db.internal/app?sslmode=require&channel_binding=require")),
        ("DATABASE_URL", ("DATABASE_URL", "postgres://app:hunter2@a,b/app?sslmode=require")),
        ("STORAGE_PROVIDER", ("STORAGE_PROVIDER", "local")),
        ("CLERK_WEBHOOK_SECRET", ("CLERK_ISSUER_URL", "https://hunter2.clerk.accounts.dev")),
        ("EMAIL_PROVIDER", ("EMAIL_PROVIDER", "console")),
        ("WS_PRESENCE", ("WS_PRESENCE", "all")),
        ("WS_OPEN_ROOMS", ("WS_OPEN_ROOMS", "true")),
    ] {
        let (code, lines) = said(&[change]).await;
        assert_eq!(code, 0, "{change:?}: {lines:?}");
        let [line] = lines.as_slice() else { panic!("{change:?} must be one warning: {lines:?}") };
        assert!(line.starts_with(&format!("{name}: ")) && !line.contains("hunter2"), "{line}");
    }
    let custom =
        [("AUTH_PROVIDER", "custom"), ("OAUTH_JWT_SECRET", STRONG), ("OAUTH_ISSUER", "https://id.example"), ("OAUTH_AUDIENCE", "")];
    let (code, lines) = said(&custom).await;
    assert!(code == 0 && lines.len() == 1 && lines[0].starts_with("OAUTH_AUDIENCE: "), "{lines:?}");
}

/// The same values start a development server without a word.
#[tokio::test]
async fn production_rules_do_not_hold_elsewhere() {
    let place = Place::bare()
        .with("PUBLIC_BASE_URL", "http://192.168.1.7:8000")
        .with("AUTH_LINK_BASE_URL", "http://localhost:3000")
        .with("TRUSTED_PROXIES", "0.0.0.0/0")
        .with("AUTH_ARGON2_MEMORY_KIB", "8")
        .with("METRICS_TOKEN", "x")
        .with("RATE_LIMIT_ENABLED", "false")
        .with("REDIS_URL", "redis://cache.internal");
    let shown = place.run(&["config"]).await.expect_ok();
    assert!(!shown.contains("warning:"), "{shown}");
}
