//! Rule: imports between the files of `src/` have no circle, because files in a circle can only be read together.

use std::collections::HashMap;

use super::graph::Graph;
use super::scope::Scope;
use super::source::{Kind, Named, Source};

/// The modules of the crate, by their paths, with the files they stand in.
struct Modules<'s> {
    all: HashMap<&'s [String], (&'s str, &'s Scope)>,
    /// Macros by their names, for they are exported at the crate's root.
    macros: HashMap<&'s str, &'s str>,
}

impl<'s> Modules<'s> {
    fn new(sources: &'s [Source]) -> Self {
        let mut modules = Self { all: HashMap::new(), macros: HashMap::new() };
        for source in sources.iter().filter(|source| source.file != "src/main.rs") {
            for scope in &source.modules {
                modules.all.insert(&scope.module, (source.file, scope));
                modules.macros.extend(scope.macros.iter().map(|name| (name.as_str(), source.file)));
            }
        }
        modules
    }

    /// The files that define what a path names: one, or those behind a glob. None for a module, which is not a use
    /// of anything in it, and for other crates.
    fn definitions(&self, named: &Named) -> Vec<&'s str> {
        let path = named.path.as_slice();
        // Before the modules: a macro may have the name of one.
        if let ([name] | [_, name], Kind::Macro) = (path, named.kind)
            && (path.len() == 1 || path[0] == "crate")
            && let Some(file) = self.exported(name)
        {
            return vec![file];
        }
        match path {
            [module @ .., star] if star == "*" => self.behind_glob(module),
            _ => self.definition(path, 0),
        }
    }

    /// As [`Self::definitions`], for a path without a glob. `depth` ends a circle of re-exports.
    fn definition(&self, path: &[String], depth: usize) -> Vec<&'s str> {
        let Some(length) = (1..=path.len()).rev().find(|length| depth < 16 && self.all.contains_key(&path[..*length])) else {
            return Vec::new();
        };
        let (module, rest) = path.split_at(length);
        let (file, scope) = self.all[module];
        let Some(name) = rest.first() else { return self.namesake(module).into_iter().collect() };
        if scope.items.contains(name) {
            return vec![file];
        }
        let reexported = scope.import(name).map(|meaning| [&meaning, &rest[1..]].concat());
        let in_glob = scope.globs().map(|glob| [&glob, rest].concat());
        let mut found: Vec<&str> = reexported.chain(in_glob).flat_map(|path| self.definition(&path, depth + 1)).collect();
        if found.is_empty() && module.len() == 1 {
            found.extend(self.exported(name));
        }
        // A name that the module does not show is made by a macro there, or imported from another crate.
        if found.is_empty() && scope.import(name).next().is_none() {
            found.push(file);
        }
        found
    }

    fn exported(&self, name: &str) -> Option<&'s str> {
        self.macros.get(name).copied()
    }

    /// A function or type with the name of a module.
    fn namesake(&self, module: &[String]) -> Option<&'s str> {
        let (name, parent) = module.split_last()?;
        self.all.get(parent).filter(|(_, scope)| scope.items.contains(name)).map(|(file, _)| *file)
    }

    fn behind_glob(&self, module: &[String]) -> Vec<&'s str> {
        let Some((file, scope)) = self.all.get(module) else { return self.definition(module, 0) };
        let own = (!scope.items.is_empty()).then_some(*file);
        let reexported = scope.imports().flat_map(|path| self.definition(&path, 0));
        own.into_iter().chain(reexported).collect()
    }
}

/// The graph of files that name items of other files, without test code.
pub fn graph(sources: &[Source]) -> Graph {
    let modules = Modules::new(sources);
    let mut graph = Graph::default();
    for source in sources {
        for named in source.named.iter().filter(|named| !named.in_test && named.kind != Kind::Reexport) {
            for file in modules.definitions(named) {
                if file != source.file {
                    graph.add(source.file, file, format!("{}:{}", source.file, named.line));
                }
            }
        }
    }
    graph
}

/// One report for each set of files that import each other.
pub fn circles(graph: &Graph) -> Vec<String> {
    let report = |circle: super::graph::Circle| {
        let is_all = circle.nodes + 1 == circle.way.len();
        let more = if is_all { String::new() } else { format!(" (one of the circles among {} files)", circle.nodes) };
        format!("import circle: {} -> {}{more}", circle.places.join(" -> "), circle.way[0])
    };
    graph.circles().into_iter().map(report).collect()
}
