//! Planted violations of the rules on rings and features.

use super::{fires, passes, planted};

#[test]
fn ring_naming_a_ring_above_is_reported() {
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
    fires("src/platform/db.rs", "fn f() { use crate::app::App; }", "src/platform/db.rs:2:", says);
    fires("src/platform/db.rs", "pub use crate::app::App;", "src/platform/db.rs:2:", says);
    fires("src/platform/db.rs", "#[cfg(test)] mod tests { use crate::app::App; }", "src/platform/db.rs:2:", says);
    fires(
        "src/providers/email/mod.rs",
        "use crate::features::users::model::User;",
        "src/providers/email/mod.rs:2:",
        "providers must not know features",
    );
    fires("src/app/jobs/mod.rs", "use crate::features::users::service;", "src/app/jobs/mod.rs:2:", "app must not know features");
    fires("src/features/users/routes.rs", "use crate::boot::router;", "src/features/users/routes.rs:2:", "features must not know boot");
    fires("src/boot/serve.rs", "use crate::cli;", "src/boot/serve.rs:2:", "boot must not know cli");
    fires("src/boot/serve.rs", "use crate::fakes::stripe;", "src/boot/serve.rs:2:", "boot must not know fakes");
    fires("src/fakes/stripe/mod.rs", "use crate::app::App;", "src/fakes/stripe/mod.rs:2:", "names only platform");
    passes("src/fakes/stripe/api/mod.rs", "use crate::{fakes::stripe::world, platform::crypto};");
    passes("src/cli/serve.rs", "use crate::{app::App, boot, features, platform::db, providers};");
    passes("src/main.rs", "use crate::cli;");
}

#[test]
fn path_in_macro_or_attribute_is_seen() {
    let says = "platform must not know app: `crate::app::App`";
    for text in [
        "macro_rules! m { () => { $crate::app::App } }",
        "macro_rules! m { () => { use crate::{app::{App}}; } }",
        "fn f() { vec![1, crate::app::App] }",
        "fn f() { vec![x.y(|| [crate::app::App; 2])] }",
        "use m::lot; lot!(<'a> crate::app::App);",
        "#[derive(crate::app::App)] struct S;",
        "struct S { #[x(with = crate::app::App)] y: u8 }",
        "struct S { #[serde(with = \"crate::app::App\")] y: u8 }",
    ] {
        fires("src/platform/db.rs", text, "src/platform/db.rs:2:", says);
    }
}

#[test]
fn renamed_or_reexported_ring_is_reported() {
    let says = "platform must not know app";
    fires("src/platform/db.rs", "use crate::App;", "src/platform/db.rs:2:", says);
    fires("src/platform/db.rs", "use crate as root;\nfn f(a: root::app::App) {}", "src/platform/db.rs:3:", says);
    fires("src/platform/db.rs", "use crate::*;", "src/platform/db.rs:2:", "glob");
    fires("src/extra.rs", "use crate::platform::db;", "src/extra.rs:", "belongs to no ring");
}

#[test]
fn comments_and_strings_name_nothing() {
    passes(
        "src/platform/db.rs",
        "// use crate::app::App;\n/* crate::app::A /* nested */ crate::app::A */\n/// [`crate::app::App`]\nstruct X;",
    );
    passes(
        "src/platform/db.rs",
        r##"const A: [&str; 3] = ["crate::app::App", r#"" crate::app::App"#, "\" crate::app::App"]; const B: char = '"'; "##,
    );
    passes("src/platform/db.rs", "m! { /// crate::app::App\n fn f() {} }");
    fires(
        "src/platform/db.rs",
        "fn f<'a>(x: &'a u8) { ('\"', '\\'', b'\"'); crate::app::x() } // \"",
        "src/platform/db.rs:2:",
        "must not know app",
    );
}

#[test]
fn app_config_names_only_config_of_features() {
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
fn feature_config_names_only_platform() {
    let file = "src/features/billing/config.rs";
    passes(file, "use crate::platform::config::Env; #[cfg(test)] mod tests { use super::*; }");
    for text in ["use crate::app::App;", "use super::model::Plan;", "use crate::{platform::id, features::users::model};"] {
        fires(file, text, "src/features/billing/config.rs:2:", "names only platform");
    }
}

#[test]
fn private_part_of_another_feature_is_reported() {
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
    fires(file, "fn f() { use crate::features::users;\n users::store::all() }", "src/features/billing/service.rs:3:", "users::store::all");
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
fn features_in_a_circle_are_reported() {
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
