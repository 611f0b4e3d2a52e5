//! The rules of the tree, as one pure function over its files.
//!
//! Rings and faces keep the code removable: what nothing above or beside it names can be deleted as a folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::source::{Named, Source};

/// From the ring that knows nothing to the one that may know all.
const RINGS: [&str; 6] = ["platform", "providers", "app", "features", "boot", "cli"];
/// What one feature may name of another, besides types and constants at its root.
const FACES: [&str; 3] = ["model", "service", "extract"];
/// Lines of a file at most.
const LONGEST: usize = 400;

/// Who names whom among the features, with the place that does.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Everything that breaks a rule, as `file:line: what`. Files are paths from the repository's root with their text;
/// all rules hold in `src/`, in `tests/` only the one on length.
pub fn violations(files: &[(&str, &str)]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (file, text) in files {
        let lines = text.lines().count();
        if lines > LONGEST {
            found.insert(format!("{file}: {lines} lines, at most {LONGEST} are allowed"));
        }
    }
    let sources: Vec<Source> =
        files.iter().filter(|(file, _)| file.starts_with("src/")).map(|(file, text)| Source::new(file, text)).collect();
    let tree = Tree::new(&sources);
    let mut graph = Graph::new();
    for source in &sources {
        if !source.text.starts_with("//!") {
            found.insert(format!("{}: the first line must say with `//!` what the file is for", source.file));
        }
        for named in source.paths().0 {
            let named = Named { path: tree.absolute(named.path), ..named };
            found.extend(environment(source, &named));
            found.extend(direction(source, &named));
            found.extend(tree.between_features(source, &named, &mut graph));
        }
        found.extend(words(source));
    }
    found.extend(cycles(&graph));
    found.into_iter().collect()
}

fn report(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.file)
}

/// Whether the file is `<name>.rs` or lies in a folder `<name>/`.
fn is_part(file: &str, name: &str) -> bool {
    file.ends_with(&format!("/{name}.rs")) || file.contains(&format!("/{name}/"))
}

/// What the files together tell about a path.
struct Tree {
    features: BTreeSet<String>,
    /// Names that `src/lib.rs` and `src/features/mod.rs` give to things of other modules.
    root: HashMap<String, Vec<String>>,
    list: HashMap<String, Vec<String>>,
}

impl Tree {
    fn new(sources: &[Source]) -> Self {
        let features = sources.iter().filter_map(|s| feature(&s.module()).map(str::to_owned)).collect();
        let names = |file: &str| sources.iter().find(|s| s.file == file).map(|s| s.paths().1).unwrap_or_default();
        Self { features, root: names("src/lib.rs"), list: names("src/features/mod.rs") }
    }

    /// Follows re-exports of the crate's root and of the list of features, which would hide what is really named.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let path = follow(path, 1, |name| if RINGS.contains(&name) { None } else { self.root.get(name) });
        if path.get(1).is_some_and(|ring| ring == "features") {
            return follow(path, 2, |name| if self.features.contains(name) { None } else { self.list.get(name) });
        }
        path
    }

    /// Features: one names another's face only. Notes who names whom.
    fn between_features(&self, source: &Source, named: &Named, graph: &mut Graph) -> Option<String> {
        let module = source.module();
        let own = feature(&module)?;
        let shown = named.path.join("::");
        if shown == "crate::features::*" {
            return Some(report(source, named.line, "a glob of all features hides which are used"));
        }
        let other = feature(&named.path).filter(|other| *other != own && self.features.contains(*other))?;
        graph.entry(own.to_owned()).or_default().entry(other.to_owned()).or_insert_with(|| format!("{}:{}", source.file, named.line));
        let part = named.path.get(3)?;
        if FACES.contains(&part.as_str()) || part.starts_with(char::is_uppercase) {
            return None;
        }
        Some(report(source, named.line, &format!("of another feature only {} and types may be named, not `{shown}`", FACES.join(", "))))
    }
}

/// Rings: a file names its own and those below it.
fn direction(source: &Source, named: &Named) -> Option<String> {
    let module = source.module();
    let (Some(own), [first, target, ..]) = (module.get(1), named.path.as_slice()) else { return None };
    if first != "crate" {
        return None;
    }
    let Some(own) = RINGS.iter().position(|ring| ring == own) else {
        return Some(format!("{}: belongs to no ring ({})", source.file, RINGS.join(" < ")));
    };
    if target == "*" {
        return Some(report(source, named.line, "a glob of the crate's root hides what is used"));
    }
    let target = RINGS.iter().position(|ring| ring == target)?;
    let shown = named.path.join("::");
    let below_settings = RINGS[own] == "features" && module.get(3).is_some_and(|part| part == "config");
    if below_settings && RINGS[target] != "platform" && !named.path.starts_with(&module[..4]) {
        return Some(report(source, named.line, &format!("a feature's config names only platform, not `{shown}`")));
    }
    let all_settings = module.starts_with(&["crate".to_owned(), "app".to_owned(), "config".to_owned()]);
    let settings = RINGS[target] == "features" && named.path.get(3).is_some_and(|part| part == "config");
    if target <= own || (all_settings && settings) {
        return None;
    }
    Some(report(source, named.line, &format!("{} must not know {}: `{shown}`", RINGS[own], RINGS[target])))
}

/// The feature that a module or a path belongs to.
fn feature(path: &[String]) -> Option<&str> {
    match path {
        [root, ring, name, ..] if root == "crate" && ring == "features" => Some(name),
        _ => None,
    }
}

/// Replaces the first `depth + 1` parts of a crate path by what the last of them stands for.
fn follow<'a>(path: Vec<String>, depth: usize, meaning: impl Fn(&str) -> Option<&'a Vec<String>>) -> Vec<String> {
    let Some(known) = path.get(depth).filter(|_| path[0] == "crate").and_then(|name| meaning(name)) else { return path };
    // `pub use users::CurrentUser` starts at the module it stands in.
    let base = if known[0] == "crate" { &[][..] } else { &path[..depth] };
    [base, known.as_slice(), &path[depth + 1..]].concat()
}

/// The environment is read in one place, so that every variable is documented and checked.
fn environment(source: &Source, named: &Named) -> Option<String> {
    let reads = named.path.starts_with(&["std".to_owned(), "env".to_owned()]);
    let allowed = source.file == "src/platform/config.rs" || source.file.starts_with("src/platform/config/");
    (reads && !allowed).then(|| report(source, named.line, "std::env is for platform/config alone"))
}

/// Rules that a single word breaks.
fn words(source: &Source) -> Vec<String> {
    let file = source.file;
    let holds_sql = is_part(file, "store") || file.starts_with("src/platform/") || file.starts_with("src/app/jobs/");
    let knows_http = !is_part(file, "service") && !is_part(file, "store");
    let excused = excused(source);
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        if !holds_sql && source.reads(at, &["sql", "!"]) && source.word(at + 2) != "=" {
            found.push(report(source, token.line, "sql! belongs into store.rs"));
        }
        if !knows_http && token.text == "axum" {
            found.push(report(source, token.line, "a service or a store must not know axum"));
        }
        if may_panic(source, at) && !excused.iter().any(|part| part.contains(&at)) {
            found.push(report(
                source,
                token.line,
                &format!("{} needs `#[expect(clippy::{}_used, reason = ..)]`, or better an error", token.text, token.text),
            ));
        }
    }
    found
}

/// `.unwrap()`, `.expect(..)`, or one of them as a function: `map(Option::unwrap)`.
fn may_panic(source: &Source, at: usize) -> bool {
    let before = at.checked_sub(1).map_or("", |before| source.word(before));
    matches!(source.word(at), "unwrap" | "expect") && (before == "::" || (before == "." && source.word(at + 1) == "("))
}

/// Test code, and what an attribute with a reason covers. A reason for a whole file would be none for its later lines.
fn excused(source: &Source) -> Vec<Range<usize>> {
    source.under(|attribute| match attribute {
        ["#", "[", "cfg", ..] | ["#", "!", "[", "cfg", ..] => {
            attribute.contains(&"test") && !attribute.contains(&"not") && !attribute.contains(&"any")
        }
        ["#", "[", "expect", ..] => attribute.contains(&"unwrap_used") || attribute.contains(&"expect_used"),
        _ => false,
    })
}

/// Depth-first search for features that depend on each other.
fn cycles(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    for start in graph.keys() {
        visit(graph, start, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

fn visit<'a>(graph: &'a Graph, name: &'a str, open: &mut Vec<&'a str>, done: &mut BTreeSet<&'a str>, found: &mut Vec<String>) {
    if let Some(start) = open.iter().position(|seen| *seen == name) {
        let ring = [&open[start..], &[name]].concat();
        let places: Vec<&str> = ring.windows(2).map(|step| graph[step[0]][step[1]].as_str()).collect();
        found.push(format!("features depend on each other: {} ({})", ring.join(" -> "), places.join(", ")));
        return;
    }
    if done.contains(name) {
        return;
    }
    open.push(name);
    for other in graph.get(name).into_iter().flat_map(BTreeMap::keys) {
        visit(graph, other, open, done, found);
    }
    open.pop();
    done.insert(name);
}
