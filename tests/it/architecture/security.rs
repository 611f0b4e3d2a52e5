//! The table in `docs/security.md`: every requirement has a proof, and the tests, pages and scripts that it names exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::source::read;
use super::{borrowed, tree};

const PAGE: &str = "docs/security.md";

/// Proofs that are no test, page or script. The row says the reason.
const REASONS: [&str; 3] = ["*Operator*", "*Not applicable*", "*Not met*"];

/// Reports rows without proof, and proofs that do not exist. A row begins with the number of a requirement.
fn problems(page: &str, tests: &BTreeSet<&str>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let is_requirement = |row: &&str| row.split([' ', ',']).nth(1).is_some_and(|number| number.split('.').count() == 3);
    for row in page.lines().filter(|line| line.starts_with('|')).filter(is_requirement) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [numbers, .., proof] = cells.as_slice() else { continue };
        let mut report = |what: String| found.push(format!("{numbers}: {what}"));
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        let linked: Vec<&str> = proof.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).collect();
        if proof.contains("TEST?") {
            report("a test is missing".to_owned());
        }
        if named.is_empty() && linked.is_empty() && !REASONS.iter().any(|reason| proof.contains(reason)) {
            report("there is no proof".to_owned());
        }
        named.iter().filter(|test| !tests.contains(*test)).for_each(|test| report(format!("there is no test {test}")));
        linked.iter().filter(|file| !exists(file)).for_each(|file| report(format!("there is no file {file}")));
    }
    found
}

#[test]
fn security_page_names_existing_proofs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(PAGE)).unwrap();
    let files = tree(&["src", "tests"]);
    let sources = read(&borrowed(&files));
    let tests: BTreeSet<&str> = sources.iter().flat_map(|source| &source.tests).map(|test| test.name.as_str()).collect();
    let found = problems(&page, &tests, |file| root.join("docs").join(file).exists());
    assert!(found.is_empty(), "{PAGE}:\n{}", found.join("\n"));
}

#[test]
fn security_row_without_proof_is_reported() {
    let page = "\
| Number | Requirement | How | Proof |
| --- | --- | --- | --- |
| 1.1.1, 1.1.2 | met | so | `a_test`, [page](page.md#part), [script](../run) |
| 1.2.1 | left | so | *Operator* |
| 2.1.1 | empty | so |  |
| 2.1.2 | words | so | trust us |
| 2.1.3 | unknown test | so | `a_test`, `no_test` |
| 2.1.4 | unknown page | so | [page](gone.md) |
| 2.1.5 | to do | so | `a_test`, TEST? limits |
";
    let found = problems(page, &BTreeSet::from(["a_test"]), |file| ["page.md", "../run"].contains(&file));
    assert_eq!(
        found,
        [
            "2.1.1: there is no proof",
            "2.1.2: there is no proof",
            "2.1.3: there is no test no_test",
            "2.1.4: there is no file gone.md",
            "2.1.5: a test is missing"
        ]
    );
}
