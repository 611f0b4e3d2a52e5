//! Rule: `platform`, `providers` and `app` name no URL path, table or tag of a feature. A feature declares all of these in
//! its own folder, so it is added and removed without an edit below it.

use std::collections::{BTreeMap, BTreeSet};

use super::report;
use super::rings::feature;
use super::source::Source;

const BELOW: [&str; 3] = ["src/platform/", "src/providers/", "src/app/"];
/// Files that put the parts together may name them.
const COMPOSITION: [&str; 2] = ["src/app/mod.rs", "src/app/config.rs"];
/// Files that may name tables of features: file, reason.
const TABLES_ALLOWED: [(&str, &str); 1] =
    [("src/app/migrate/takeover.rs", "inspects the tables of the service whose database is taken over, before any feature runs")];
/// Paths of other services that are also paths of a feature: file, part of the string, reason.
const PATHS_ALLOWED: [(&str, &str, &str); 1] = [("src/platform/auth/config.rs", "/auth/v1", "the address of Supabase's own issuer")];

/// Names that belong to features, each with the file that declares it.
#[derive(Default)]
pub struct Own<'s> {
    names: BTreeSet<String>,
    /// First segments of URL paths, with the slash.
    pub paths: BTreeMap<String, &'s str>,
    pub tables: BTreeMap<String, &'s str>,
}

impl<'s> Own<'s> {
    pub fn new(sources: &[Source<'s>]) -> Self {
        let mut own = Self::default();
        for source in sources {
            let module = source.module();
            let Some(name) = feature(&module) else { continue };
            own.names.insert(name.to_owned());
            for setting in source.openapi.iter().filter(|setting| setting.key == "path") {
                if let Some(first) = first_segment(&setting.text) {
                    own.paths.entry(first).or_insert(source.file);
                }
            }
            let texts: Vec<&str> = source.literals.iter().filter(|literal| literal.within == "sql").map(|literal| &*literal.text).collect();
            let subqueries: BTreeSet<&str> = texts.iter().flat_map(|text| subqueries(text)).collect();
            for table in texts.iter().flat_map(|text| tables(text)).filter(|table| !subqueries.contains(table)) {
                own.tables.entry(table.to_owned()).or_insert(source.file);
            }
        }
        own
    }
}

pub fn violations(sources: &[Source]) -> Vec<String> {
    let own = Own::new(sources);
    let is_below = |file: &str| BELOW.iter().any(|folder| file.starts_with(folder)) && !COMPOSITION.contains(&file);
    sources.iter().filter(|source| is_below(source.file)).flat_map(|source| file(source, &own)).collect()
}

fn file(source: &Source, own: &Own) -> Vec<String> {
    let may_name_tables = TABLES_ALLOWED.iter().any(|(file, _)| *file == source.file);
    let mut found = Vec::new();
    for literal in &source.literals {
        let text = literal.text.as_str();
        let is_foreign = PATHS_ALLOWED.iter().any(|(file, part, _)| *file == source.file && text.contains(part));
        let path = own.paths.iter().find(|(path, _)| !is_foreign && holds_path(text, path));
        let table = tables(text).into_iter().find_map(|table| own.tables.get_key_value(table)).filter(|_| !may_name_tables);
        let named = [("path", path), ("table", table)].into_iter().filter_map(|(kind, named)| Some((kind, named?)));
        found.extend(named.map(|(kind, (name, file))| report(source, literal.line, &format!("names the {kind} `{name}` of {file}"))));
    }
    for setting in source.openapi.iter().filter(|setting| matches!(setting.key.as_str(), "tag" | "tags" | "name")) {
        if own.names.contains(&setting.text) {
            found.push(report(source, setting.line, &format!("names the tag of the feature {}", setting.text)));
        }
    }
    found
}

/// `/projects` of `/projects/{id}`; none if the path starts with a parameter.
fn first_segment(path: &str) -> Option<String> {
    let first = path.strip_prefix('/')?.split('/').next()?;
    (!first.is_empty() && !first.starts_with('{')).then(|| format!("/{first}"))
}

/// Whether the text has the path as whole segments. A host stands behind `//`, a folder behind `./`. A whole `https` address is
/// a vendor's.
fn holds_path(text: &str, path: &str) -> bool {
    if text.starts_with("https://") {
        return false;
    }
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '%');
    text.match_indices(path).any(|(at, _)| !text[..at].ends_with(['/', '.']) && !text[at + path.len()..].starts_with(goes_on))
}

/// The tables that a text of SQL names after `FROM`, `INTO`, `UPDATE` and `JOIN`. Key words are in capitals.
fn tables(text: &str) -> Vec<&str> {
    let words = words(text);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |before| words[before]);
        let (Some(name), behind) = (words.get(at + 1), words.get(at + 2)) else { continue };
        let names_table = match *word {
            // Neither a function that returns rows nor the column of `IS DISTINCT FROM` is a table.
            "FROM" | "JOIN" => behind != Some(&"(") && before != "DISTINCT",
            "INTO" => true,
            "UPDATE" => !matches!(before, "DO" | "FOR" | "KEY"),
            _ => false,
        };
        if names_table && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
            found.push(*name);
        }
    }
    found
}

/// Names that a text gives to queries: `name AS (SELECT ..)`.
fn subqueries(text: &str) -> Vec<&str> {
    words(text).windows(3).filter(|three| three[1] == "AS" && three[2] == "(").map(|three| three[0]).collect()
}

/// Words and brackets of a text. Quotation marks and the schema before a table are left out.
fn words(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c| is_word(c) || c == '(') {
        let part = &rest[start..];
        let length = part.find(|c| !is_word(c)).unwrap_or(part.len()).max(1);
        if !part[length..].starts_with('.') {
            found.push(&part[..length]);
        }
        rest = &part[length..];
    }
    found
}
