//! Architecture test: which file may name which, and where SQL, panics and the like may stand.
//!
//! - `source`, `reader`, `scope`, `tokens`, `attributes`: read a file with `syn` and note what it names and holds;
//! - `rules`, `rings`, `below`, `names`, `imports`: the rules, as pure functions over files;
//! - `graph`: a graph of names and its circles;
//! - `refusals`: errors that handlers can return, compared with the OpenAPI document;
//! - `security`: the proofs that `docs/security.md` names;
//! - `planted`: violations that show that each rule fires.
//!
//! Here the rules run on the real tree. Names are checked, types are not: what a macro makes and the methods of a value
//! are not seen.

mod attributes;
mod below;
mod graph;
mod imports;
mod names;
mod planted;
mod reader;
mod refusals;
mod rings;
mod rules;
mod scope;
mod security;
mod source;
mod tokens;

use std::path::Path;
use std::{env, fs, io};

use source::{Source, read};

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

/// The files of the folders, in a fixed order.
fn tree(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in folders {
        collect(folder, &mut files).unwrap();
    }
    files.sort();
    // Without this, a moved folder would let everything pass.
    assert!(files.iter().any(|(file, _)| file == "src/features/mod.rs"), "the features were not found");
    files
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect()
}

fn report(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.file)
}

#[test]
fn tree_keeps_rules() {
    let found = rules::violations(&borrowed(&tree(&["src", "tests"])));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// `PRINT_IMPORTS=1 cargo test --test it imports_of_tree -- --nocapture` prints the graph for Graphviz.
#[test]
fn imports_of_tree_have_no_circle() {
    let files = tree(&["src"]);
    let sources = read(&borrowed(&files));
    let graph = imports::graph(&sources);
    if env::var_os("PRINT_IMPORTS").is_some() {
        println!("{}", graph.dot());
    }
    let found = imports::circles(&graph);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The rule in `below` would pass if it found no paths and tables of features to look for.
#[test]
fn features_have_paths_and_tables() {
    let files = tree(&["src"]);
    let sources = read(&borrowed(&files));
    let own = below::Own::new(&sources);
    assert!(!own.paths.is_empty() && !own.tables.is_empty(), "paths {:?}, tables {:?}", own.paths, own.tables);
}
