//! Planted violations: each rule is shown to fire on one, and to pass what is allowed.

mod below;
mod files;
mod imports;
mod names;
mod rings;

use super::rules::violations;

/// The violations in a tree of these files and two features, `users` and `billing`, which break no rule.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let base = [
        ("src/lib.rs", "//! x\npub mod app;\npub mod features;\npub mod platform;\npub use app::App;"),
        ("src/features/mod.rs", "//! x\npub mod billing;\npub mod users;\npub use users::CurrentUser;"),
        ("src/features/users/mod.rs", "//! x\npub mod extract;\npub mod model;\nmod routes;\nmod store;\npub use extract::CurrentUser;"),
        (
            "src/features/users/routes.rs",
            "//! x\n#[utoipa::path(get, path = \"/users/{id}\", tag = \"users\")]\nfn get() {}\n#[utoipa::path(post, path = \"/auth/login\")]\nfn post() {}",
        ),
        (
            "src/features/users/store.rs",
            "//! x\nfn f() { sql!(\"WITH old AS (SELECT id FROM users) DELETE FROM old\"); sql!(\"INSERT INTO \", \"sessions (id)\") }\n\
             fn g() { sql!(pg: \"SELECT x FROM json_each($1) JOIN credentials AS c FOR UPDATE SKIP LOCKED\") }",
        ),
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
fn tree_without_violation_passes() {
    assert_eq!(planted(&[]), Vec::<String>::new());
}
