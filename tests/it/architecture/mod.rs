//! The structure of the tree: which file may name which, and where certain things may stand. The rules themselves are
//! in `rules`; here they run on the real tree, and each is shown to fire on a planted violation.

mod rules;
mod source;

use std::path::Path;
use std::{fs, io};

use rules::violations;

/// Adds every Rust file below the folder, as path from the repository's root and text.
fn collect(folder: &str, into: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))? {
        let entry = entry?;
        let name = format!("{folder}/{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            collect(&name, into)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            into.push((name, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

#[test]
fn the_tree_keeps_the_rules() {
    let mut files = Vec::new();
    collect("src", &mut files).unwrap();
    collect("tests", &mut files).unwrap();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    // Without this, a moved folder would let everything pass.
    assert!(files.iter().any(|(file, _)| *file == "src/features/mod.rs"), "the features were not found");
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The violations in a tree of these files and two features, `users` and `billing`, which break no rule.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let base = [
        ("src/lib.rs", "//! x\npub mod platform;\npub use app::App;"),
        ("src/features/mod.rs", "//! x\npub mod users;\npub use users::CurrentUser;"),
        ("src/features/users/mod.rs", "//! x\npub mod model;\npub use extract::CurrentUser;"),
        ("src/features/billing/mod.rs", "//! x\npub mod model;"),
    ];
    let mut tree: Vec<(&str, String)> = base.iter().map(|(file, text)| (*file, (*text).to_owned())).collect();
    for (file, text) in files {
        tree.retain(|(known, _)| known != file);
        tree.push((file, format!("//! x\n{text}")));
    }
    violations(&tree.iter().map(|(file, text)| (*file, text.as_str())).collect::<Vec<_>>())
}

/// Exactly one violation, in the given file and line, that says the given words.
#[track_caller]
fn fires(file: &str, text: &str, place: &str, says: &str) {
    let found = planted(&[(file, text)]);
    assert!(
        found.len() == 1 && found[0].starts_with(place) && found[0].contains(says),
        "{text}\nwanted {place} .. {says}, found {found:#?}"
    );
}

#[track_caller]
fn passes(file: &str, text: &str) {
    let found = planted(&[(file, text)]);
    assert!(found.is_empty(), "{text}\n{found:#?}");
}

#[test]
fn a_ring_names_none_above_it() {
    let says = "platform must not know app: `crate::app::App`";
    fires("src/platform/db.rs", "use crate::app::App;", "src/platform/db.rs:2:", says);
    fires(
        "src/platform/db.rs",
        "use crate::{platform::{clock, id}, app::{\n  jobs::{Job}}};",
        "src/platform/db.rs:3:",
        "must not know app",
    );
    fires("src/platform/db.rs", "fn f(a: crate::app::App) {}", "src/platform/db.rs:2:", says);
    fires("src/platform/db/tx.rs", "use super::super::super::app::App;", "src/platform/db/tx.rs:2:", says);
    fires("src/platform/db/mod.rs", "use super::{clock, super::app::App};", "src/platform/db/mod.rs:2:", says);
    fires("src/platform/db.rs", "mod inner { use super::super::super::app::App; }", "src/platform/db.rs:2:", says);
    fires("src/platform/db.rs", "macro_rules! m { () => { $crate::app::App } }", "src/platform/db.rs:2:", says);
    fires(
        "src/providers/email/mod.rs",
        "use crate::features::users::model::User;",
        "src/providers/email/mod.rs:2:",
        "providers must not know features",
    );
    fires("src/app/jobs/mod.rs", "use crate::features::users::service;", "src/app/jobs/mod.rs:2:", "app must not know features");
    fires("src/features/users/routes.rs", "use crate::boot::router;", "src/features/users/routes.rs:2:", "features must not know boot");
    fires("src/boot/serve.rs", "use crate::cli;", "src/boot/serve.rs:2:", "boot must not know cli");
    passes("src/cli/serve.rs", "use crate::{app::App, boot, features, platform::db, providers};");
    passes("src/main.rs", "use crate::cli;");
}

#[test]
fn names_cannot_hide_a_ring() {
    let says = "platform must not know app";
    fires("src/platform/db.rs", "use crate::App;", "src/platform/db.rs:2:", says);
    fires("src/platform/db.rs", "use crate as root;\nfn f(a: root::app::App) {}", "src/platform/db.rs:3:", says);
    fires("src/platform/db.rs", "use crate::*;", "src/platform/db.rs:2:", "glob");
    fires("src/extra.rs", "use crate::platform::db;", "src/extra.rs:", "belongs to no ring");
}

#[test]
fn comments_and_texts_name_nothing() {
    passes(
        "src/platform/db.rs",
        "// use crate::app::App;\n/* crate::app::A /* nested */ crate::app::A */\n/// [`crate::app::App`]\nstruct X;",
    );
    passes(
        "src/platform/db.rs",
        r##"const A: [&str; 3] = ["crate::app::App", r#"" crate::app::App"#, "\" crate::app::App"]; const B: char = '"'; "##,
    );
    fires(
        "src/platform/db.rs",
        "fn f<'a>(x: &'a u8) { ('\"', '\\'', b'\"'); crate::app::x() } // \"",
        "src/platform/db.rs:2:",
        "must not know app",
    );
}

#[test]
fn only_the_config_of_a_feature_is_known_to_app() {
    passes("src/app/config.rs", "use crate::features::billing::config as billing; fn f(c: crate::features::users::config::Config) {}");
    fires(
        "src/app/config.rs",
        "use crate::features::{users::config, billing::model};",
        "src/app/config.rs:2:",
        "app must not know features",
    );
    fires("src/app/mod.rs", "use crate::features::users::config;", "src/app/mod.rs:2:", "app must not know features");
}

#[test]
fn the_config_of_a_feature_knows_platform_only() {
    let file = "src/features/billing/config.rs";
    passes(file, "use crate::platform::config::Env; #[cfg(test)] mod tests { use super::*; }");
    for text in ["use crate::app::App;", "use super::model::Plan;", "use crate::{platform::id, features::users::model};"] {
        fires(file, text, "src/features/billing/config.rs:2:", "names only platform");
    }
}

#[test]
fn a_feature_shows_its_face_only() {
    let file = "src/features/billing/service.rs";
    passes(file, "use crate::features::users::{self, FEATURE, UserId, extract::CurrentUser, model::User, service};\nuse super::store;");
    for part in ["routes", "store", "jobs", "config", "*"] {
        fires(file, &format!("use crate::features::users::{part};"), "src/features/billing/service.rs:2:", "another feature");
        fires(
            file,
            &format!("use crate::{{app::App, features::{{users::{{model, {part}}}}}}};"),
            "src/features/billing/service.rs:2:",
            "another feature",
        );
    }
    fires(file, "use crate::features::users;\nfn f() { users::store::all() }", "src/features/billing/service.rs:3:", "users::store::all");
    fires(
        file,
        "use crate::features as all;\nuse all::users as people;\nfn f() { people::routes::x() }",
        "src/features/billing/service.rs:4:",
        "another feature",
    );
    fires(file, "fn f() { super::super::users::jobs::run() }", "src/features/billing/service.rs:2:", "another feature");
    fires(file, "use crate::features::*;", "src/features/billing/service.rs:2:", "glob");
}

#[test]
fn features_depend_on_each_other_one_way() {
    let billing = ("src/features/billing/service.rs", "use crate::features::users::service;");
    assert_eq!(planted(&[billing]), Vec::<String>::new());
    for text in [
        "use crate::features::billing::model::Plan;",
        "use super::super::billing::{model, service};",
        "fn f() { crate::features::billing::service::f() }",
    ] {
        let found = planted(&[billing, ("src/features/users/service.rs", text)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("billing -> users -> billing") && found[0].contains("src/features/users/service.rs:2"), "{found:?}");
    }
    // Through a third, and through a re-export of the list.
    let files = [
        ("src/features/billing/service.rs", "use crate::features::CurrentUser;"),
        ("src/features/users/service.rs", "use crate::features::audit::model;"),
        ("src/features/audit/service.rs", "use crate::{app::App, features::{billing::model}};"),
    ];
    let found = planted(&files);
    assert!(found.len() == 1 && found[0].contains("audit -> billing -> users -> audit"), "{found:?}");
}

#[test]
fn sql_stands_in_stores() {
    for file in ["src/features/users/store.rs", "src/features/users/store/page.rs", "src/platform/db/mod.rs", "src/app/jobs/claim.rs"] {
        passes(file, "fn f() { sql!(\"SELECT 1\") }");
    }
    for file in ["src/features/users/service.rs", "src/app/feature.rs", "src/boot/serve.rs"] {
        fires(file, "fn f() { q(db, crate::sql!(\"SELECT 1\")) }", &format!("{file}:2:"), "sql! belongs into store.rs");
    }
    passes("src/features/users/service.rs", "fn f() -> bool { sql != other }");
}

#[test]
fn services_and_stores_know_no_axum() {
    for file in ["src/features/users/service.rs", "src/features/users/store.rs", "src/features/users/service/search.rs"] {
        fires(file, "use axum::Json;", &format!("{file}:2:"), "must not know axum");
        fires(file, "fn f() -> axum::Json<u8> { x }", &format!("{file}:2:"), "must not know axum");
    }
    passes("src/features/users/routes.rs", "use axum::Json;");
}

#[test]
fn the_environment_is_read_in_one_place() {
    for text in [
        "use std::env;",
        "use std::{fmt, env::{self}};",
        "fn f() { ::std::env::var(\"X\") }",
        "use std as s; fn f() { s::env::var(\"X\") }",
    ] {
        let found = planted(&[("src/boot/serve.rs", text)]);
        assert!(!found.is_empty() && found.iter().all(|v| v.contains("std::env is for platform/config")), "{text}: {found:?}");
    }
    fires("src/main.rs", "fn f() { std::env::args() }", "src/main.rs:2:", "std::env");
    passes("src/platform/config/mod.rs", "use std::env;");
    passes(
        "src/boot/serve.rs",
        "const A: &str = env!(\"X\"); const B: Option<&str> = std::option_env!(\"X\"); const C: &str = std::env!(\"X\");",
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let found = violations(&[("src/platform/db.rs", "use std::fmt;\n//! too late"), ("tests/it/main.rs", "mod harness;")]);
    assert!(found.len() == 1 && found[0].contains("`//!`"), "{found:?}");
}

#[test]
fn files_stay_short() {
    let (short, long) = (format!("//! x\n{}", "\n".repeat(399)), format!("//! x\n{}", "\n".repeat(400)));
    let found = violations(&[("src/platform/a.rs", &short), ("src/platform/b.rs", &long), ("tests/it/c.rs", &long)]);
    assert_eq!(found, ["src/platform/b.rs: 401 lines, at most 400 are allowed", "tests/it/c.rs: 401 lines, at most 400 are allowed"]);
}

#[test]
fn panics_need_a_reason() {
    let file = "src/app/mod.rs";
    for text in [
        "fn f() { x.unwrap(); }",
        "fn f() { x\n.y() .expect(\"y\"); }",
        "fn f() { x.map(Option::unwrap); }",
        "#[cfg(not(test))] fn f() { x.unwrap() }",
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
    for text in [
        "#[cfg(test)]\n#[expect(dead_code)]\nmod tests { fn f() { x.unwrap() } }",
        "#[cfg(all(test, unix))] fn f<A, B>(x: [u8; 2]) { x.unwrap() }",
        "#![cfg(test)] fn f() { x.unwrap() }",
        "#[expect(clippy::unwrap_used, reason = \"a constant\")]\nfn f() { x.unwrap() }",
        "#[expect(clippy::expect_used, reason = \"literals\")]\nimpl A<B, C> { fn f() {} fn g() { x.expect(\"a\") } }",
        "#[expect(clippy::expect_used, reason = \"a literal\")]\nstatic A: L<B, C> =\n L::new(|| { b.expect(\"a\") });",
        "fn f() { #[expect(\nclippy::expect_used,\nreason = \"a constant\")]\nlet x = a\n.b()\n.expect(\"a\"); }",
        "fn f() { x.unwrap_or(1); x.expect_err; unwrap() }",
    ] {
        passes(file, text);
    }
}
