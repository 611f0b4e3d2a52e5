//! Rules: a ring names only itself and the rings below it, a feature names only the face of another one, and features
//! depend on each other in one direction. So what nothing names can be deleted as a folder.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::report;
use super::scope::Scope;
use super::source::{Kind, Named, Source};

/// Lowest first: a ring may name itself and the rings before it.
const RINGS: [&str; 7] = ["platform", "providers", "app", "features", "boot", "fakes", "cli"];
/// Modules of a feature that other features may name, besides types and constants at its root.
const FACES: [&str; 3] = ["model", "service", "extract"];

pub fn violations(sources: &[Source]) -> Vec<String> {
    let tree = Tree::new(sources);
    let mut features = Graph::default();
    let mut found = Vec::new();
    for source in sources {
        let module = source.module();
        if module.get(1).is_some_and(|own| !RINGS.contains(&own.as_str())) {
            found.push(format!("{}: belongs to no ring ({})", source.file, RINGS.join(" < ")));
        }
        // A single name was imported, which is reported there.
        for named in source.named.iter().filter(|named| named.kind != Kind::Name) {
            let path = tree.follow(&named.path);
            found.extend(direction(&module, &path).map(|what| report(source, named.line, &what)));
            found.extend(tree.face(source, &module, named, &path, &mut features));
        }
    }
    found.extend(
        features
            .circles()
            .into_iter()
            .map(|circle| format!("features depend on each other: {} ({})", circle.way.join(" -> "), circle.places.join(", "))),
    );
    found
}

/// What a path means depends on all files.
struct Tree<'s> {
    features: BTreeSet<String>,
    /// The modules whose re-exports would hide what is named: the crate's root and the list of features.
    root: Option<&'s Scope>,
    list: Option<&'s Scope>,
}

impl<'s> Tree<'s> {
    fn new(sources: &'s [Source]) -> Self {
        let features = sources.iter().filter_map(|source| feature(&source.module()).map(str::to_owned)).collect();
        let module = |file: &str| sources.iter().find(|source| source.file == file).and_then(|source| source.modules.last());
        Self { features, root: module("src/lib.rs"), list: module("src/features/mod.rs") }
    }

    /// The path with re-exports of the crate's root and of the list of features replaced.
    fn follow(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        if path[0] == "crate" && path.get(1).is_some_and(|name| !RINGS.contains(&name.as_str())) {
            path = replace(self.root, path, 1);
        }
        if path.starts_with(&["crate".to_owned(), "features".to_owned()]) && path.get(2).is_some_and(|name| !self.features.contains(name)) {
            path = replace(self.list, path, 2);
        }
        path
    }

    /// Checks that a feature names only the face of another feature, and adds the edge between them to the graph.
    fn face(&self, source: &Source, module: &[String], named: &Named, path: &[String], graph: &mut Graph) -> Option<String> {
        let own = feature(module)?;
        let shown = path.join("::");
        if shown == "crate::features::*" {
            return Some(report(source, named.line, "a glob of all features hides which are used"));
        }
        let other = feature(path).filter(|other| *other != own && self.features.contains(*other))?;
        graph.add(own, other, format!("{}:{}", source.file, named.line));
        let part = path.get(3)?;
        if FACES.contains(&part.as_str()) || part.starts_with(char::is_uppercase) {
            return None;
        }
        Some(report(source, named.line, &format!("of another feature only {} and types may be named, not `{shown}`", FACES.join(", "))))
    }
}

/// Replaces a crate path up to the name at `at` by what the module there imports under this name.
fn replace(module: Option<&Scope>, path: Vec<String>, at: usize) -> Vec<String> {
    match module.and_then(|module| module.import(&path[at]).next()) {
        Some(meaning) => [&meaning, &path[at + 1..]].concat(),
        None => path,
    }
}

/// A file names its own ring and those below it.
fn direction(module: &[String], path: &[String]) -> Option<String> {
    let (Some(own), [first, target, ..]) = (module.get(1), path) else { return None };
    if first != "crate" {
        return None;
    }
    if target == "*" {
        return Some("a glob of the crate's root hides what is used".to_owned());
    }
    if own == "fakes" && !["fakes", "platform"].contains(&target.as_str()) {
        return Some(format!("a fake stands for a vendor and names only platform, not `{}`", path.join("::")));
    }
    let own = RINGS.iter().position(|ring| ring == own)?;
    let target = RINGS.iter().position(|ring| ring == target)?;
    let shown = path.join("::");
    let below_settings = RINGS[own] == "features" && module.get(3).is_some_and(|part| part == "config");
    if below_settings && RINGS[target] != "platform" && !path.starts_with(&module[..4]) {
        return Some(format!("a feature's config names only platform, not `{shown}`"));
    }
    let all_settings = module.starts_with(&["crate".to_owned(), "app".to_owned(), "config".to_owned()]);
    let settings = RINGS[target] == "features" && path.get(3).is_some_and(|part| part == "config");
    if target <= own || (all_settings && settings) {
        return None;
    }
    Some(format!("{} must not know {}: `{shown}`", RINGS[own], RINGS[target]))
}

/// The feature that a module or a path belongs to.
pub fn feature(path: &[String]) -> Option<&str> {
    match path {
        [root, ring, name, ..] if root == "crate" && ring == "features" => Some(name),
        _ => None,
    }
}
