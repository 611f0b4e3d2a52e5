//! Rules on single files: their length, their first line, and where SQL, HTTP types, the environment and panics may stand.

use std::collections::BTreeSet;

use super::source::{Kind, Source, read};
use super::{below, names, report, rings};

/// Lines of a file at most.
const LONGEST: usize = 400;

/// Reports everything that breaks a rule, as `file:line: what`. `files` are paths from the repository's root with their
/// text. All rules hold in `src/`, in `tests/` only those on length and on names of tests. Import circles have a test of
/// their own: see `imports`.
pub fn violations(files: &[(&str, &str)]) -> Vec<String> {
    let sources = read(files);
    let mut found = BTreeSet::new();
    for source in &sources {
        let lines = source.text.lines().count();
        if lines > LONGEST {
            found.insert(format!("{}: {lines} lines, at most {LONGEST} are allowed", source.file));
        }
        found.extend(source.problem.clone());
    }
    if names::ENFORCE_TEST_NAMES {
        found.extend(names::long_test_names(&sources));
    }
    let code: Vec<Source> = sources.into_iter().filter(|source| source.file.starts_with("src/")).collect();
    found.extend(code.iter().flat_map(file));
    found.extend(rings::violations(&code));
    found.extend(below::violations(&code));
    found.extend(names::equal_schema_names(&code));
    found.into_iter().collect()
}

fn file(source: &Source) -> Vec<String> {
    let file = source.file;
    let reads_environment = file == "src/platform/config.rs" || file.starts_with("src/platform/config/");
    let holds_sql = is_part(file, "store") || file.starts_with("src/platform/") || file.starts_with("src/app/jobs/");
    let knows_http = !is_part(file, "service") && !is_part(file, "store");
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(format!("{file}: the first line must say with `//!` what the file is for"));
    }
    for named in &source.named {
        let is_macro = named.kind == Kind::Macro;
        if !reads_environment && !is_macro && named.path.starts_with(&["std".to_owned(), "env".to_owned()]) {
            found.push(report(source, named.line, "std::env is for platform/config alone"));
        }
        if !holds_sql && is_macro && named.path.last().is_some_and(|last| last == "sql") {
            found.push(report(source, named.line, "sql! belongs into store.rs"));
        }
        // A single name was imported, which is reported there.
        if !knows_http && named.kind != Kind::Name && named.path[0] == "axum" {
            found.push(report(source, named.line, "a service or a store must not know axum"));
        }
    }
    for panic in &source.panics {
        let what = format!("{} needs `#[expect(clippy::{}_used, reason = ..)]`, or better an error", panic.name, panic.name);
        found.push(report(source, panic.line, &what));
    }
    found
}

/// Whether the file is `<name>.rs` or lies in a folder `<name>/`.
fn is_part(file: &str, name: &str) -> bool {
    file.ends_with(&format!("/{name}.rs")) || file.contains(&format!("/{name}/"))
}
