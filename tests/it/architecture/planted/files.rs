//! Planted violations of the rules on single files.

use super::super::rules::violations;
use super::{fires, passes, planted};

#[test]
fn sql_outside_of_stores_is_reported() {
    for file in ["src/features/users/store.rs", "src/features/users/store/page.rs", "src/platform/db/mod.rs", "src/app/jobs/claim.rs"] {
        passes(file, "fn f() { sql!(\"SELECT 1\") }");
    }
    for file in ["src/features/users/service.rs", "src/app/feature.rs", "src/boot/serve.rs"] {
        for text in [
            "fn f() { query(db, crate::sql!(\"SELECT 1\")) }",
            "fn f() { tokio::join!(query(sql!(\"SELECT 1\"))) }",
            "use crate::sql; fn f() { sql![\"SELECT 1\"] }",
        ] {
            fires(file, text, &format!("{file}:2:"), "sql! belongs into store.rs");
        }
    }
    passes("src/features/users/service.rs", "fn f() -> bool { assert!(sql != other); sql != other }");
}

#[test]
fn axum_in_services_and_stores_is_reported() {
    for file in ["src/features/users/service.rs", "src/features/users/store.rs", "src/features/users/service/search.rs"] {
        for text in [
            "use axum::Json;",
            "use axum;",
            "fn f() -> axum::Json<u8> { x }",
            "fn f() { vec![::axum::Json] }",
            "#[axum::debug_handler] fn f() {}",
        ] {
            fires(file, text, &format!("{file}:2:"), "must not know axum");
        }
    }
    passes("src/features/users/routes.rs", "use axum::Json;");
}

#[test]
fn environment_outside_of_config_is_reported() {
    for text in [
        "use std::env;",
        "use std::{fmt, env::{self}};",
        "fn f() { ::std::env::var(\"X\") }",
        "fn f() { vec![std::env::var(\"X\")] }",
        "use std as s; fn f() { s::env::var(\"X\") }",
        "use std::env; fn f() { env::var(\"X\") }",
    ] {
        let found = planted(&[("src/boot/serve.rs", text)]);
        assert!(!found.is_empty() && found.iter().all(|v| v.contains("std::env is for platform/config")), "{text}: {found:?}");
    }
    fires("src/main.rs", "fn f() { std::env::args() }", "src/main.rs:2:", "std::env");
    passes("src/platform/config/mod.rs", "use std::env;");
    passes(
        "src/boot/serve.rs",
        "const A: &str = env!(\"X\"); const B: Option<&str> = std::option_env!(\"X\"); const C: &str = std::env!(\"X\"); const D: &str = concat!(std::env!(\"X\"));",
    );
}

#[test]
fn file_without_first_line_doc_is_reported() {
    let found = violations(&[("src/platform/db.rs", "use std::fmt;"), ("tests/it/main.rs", "mod harness;")]);
    assert!(found.len() == 1 && found[0].contains("`//!`"), "{found:?}");
}

#[test]
fn file_that_does_not_parse_is_reported() {
    fires("src/platform/db.rs", "fn f() {}\nfn g( {}", "src/platform/db.rs:3:", "cannot be parsed");
    fires("tests/it/x.rs", "fn f() }", "tests/it/x.rs:2:", "cannot be parsed");
}

#[test]
fn file_over_400_lines_is_reported() {
    let (short, long) = (format!("//! x\n{}", "\n".repeat(399)), format!("//! x\n{}", "\n".repeat(400)));
    let found = violations(&[("src/platform/a.rs", &short), ("src/platform/b.rs", &long), ("tests/it/c.rs", &long)]);
    assert_eq!(found, ["src/platform/b.rs: 401 lines, at most 400 are allowed", "tests/it/c.rs: 401 lines, at most 400 are allowed"]);
}

#[test]
fn panic_without_reason_is_reported() {
    let file = "src/app/mod.rs";
    for text in [
        "fn f() { x.unwrap(); }",
        "fn f() { x\n.y() .expect(\"y\"); }",
        "fn f() { x.map(Option::unwrap); }",
        "fn f() { vec![x.unwrap()] }",
        "fn f() { vec![x.map(Option::unwrap)] }",
        "#[cfg(not(test))] fn f() { x.unwrap() }",
        "#[cfg(any(test, unix))] fn f() { x.unwrap() }",
    ] {
        fires(file, text, file, "_used, reason = ..)]`");
    }
    fires(
        file,
        "#[expect(clippy::unwrap_used, reason = \"a constant\")] fn f() { x.unwrap() }\nfn g() { y.unwrap() }",
        "src/app/mod.rs:3:",
        "unwrap needs",
    );
    fires(file, "#[expect(clippy::too_many_lines, reason = \"a table\")]\nfn f() { x.expect(\"a\") }", "src/app/mod.rs:3:", "expect needs");
    fires(file, "#![expect(clippy::unwrap_used, reason = \"all of it\")]\nfn f() { x.unwrap() }", "src/app/mod.rs:3:", "unwrap needs");
    fires(file, "#[cfg(test)] mod tests { fn f() { x.unwrap() } }\nfn f() { y.unwrap() }", "src/app/mod.rs:3:", "unwrap needs");
    fires(file, "#[cfg(test)] use a::{b, c};\nfn f() { y.unwrap() }", "src/app/mod.rs:3:", "unwrap needs");
}

#[test]
fn panic_with_reason_or_in_tests_passes() {
    let file = "src/app/mod.rs";
    for text in [
        "#[cfg(test)]\n#[expect(dead_code)]\nmod tests { fn f() { x.unwrap() } }",
        "#[cfg(all(test, unix))] fn f<A, B>(x: [u8; 2]) { x.unwrap() }",
        "#![cfg(test)] fn f() { x.unwrap() }",
        "#[expect(clippy::unwrap_used, reason = \"a constant\")]\nfn f() { x.unwrap() }",
        "#[expect(clippy::expect_used, reason = \"literals\")]\nimpl A<B, C> { fn f() {} fn g() { x.expect(\"a\") } }",
        "#[expect(clippy::expect_used, reason = \"a literal\")]\nstatic A: L<B, C> =\n L::new(|| { b.expect(\"a\") });",
        "fn f() { #[expect(\nclippy::expect_used,\nreason = \"a constant\")]\nlet x = a\n.b()\n.expect(\"a\"); }",
        "fn f() { match x { #[expect(clippy::unwrap_used, reason = \"a constant\")] 1 => y.unwrap(), _ => {} } }",
        "fn f() { #[expect(clippy::unwrap_used, reason = \"a constant\")] vec![x.unwrap()]; }",
        "fn f() { x.unwrap_or(1); x.expect_err; unwrap() }",
    ] {
        passes(file, text);
    }
    let declared = ("src/app/mod.rs", "#[cfg(test)]\nmod stories;");
    assert_eq!(planted(&[declared, ("src/app/stories.rs", "fn f() { x.unwrap() }")]), Vec::<String>::new());
}
