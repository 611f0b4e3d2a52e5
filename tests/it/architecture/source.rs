//! One file of the tree, with what the rules ask about: the paths it names, its texts, what may panic, its schemas and
//! its tests.

use super::reader::Reader;
use super::scope::Scope;
use super::tokens::Setting;

/// Where a path stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Import,
    /// An import that is public: it hands a name on, and uses nothing.
    Reexport,
    /// Two or more segments in code.
    Path,
    /// A single name in code, which the file defines or imports.
    Name,
    Macro,
}

/// A path as the code means it: from the crate's root (`crate` first) or from another crate. Imports of the file are
/// resolved, re-exports of other modules are not.
#[derive(Debug, Clone)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
    pub kind: Kind,
    pub in_test: bool,
}

/// What a string in an attribute is within.
pub const ATTRIBUTE: &str = "#";

/// A string, outside of comments.
pub struct Literal {
    pub text: String,
    pub line: usize,
    /// The macro it is an argument of, [`ATTRIBUTE`], or `""`.
    pub within: String,
}

/// A name and its line.
pub struct At {
    pub name: String,
    pub line: usize,
}

/// One file of the tree.
#[derive(Default)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
    /// The modules written inside the file, then the file's own, without test code.
    pub modules: Vec<Scope>,
    pub named: Vec<Named>,
    pub literals: Vec<Literal>,
    /// `unwrap` and `expect` without a reason.
    pub panics: Vec<At>,
    /// Names of OpenAPI schemas.
    pub schemas: Vec<At>,
    /// What attributes of `utoipa` set.
    pub openapi: Vec<Setting>,
    pub tests: Vec<At>,
    /// Why the file could not be parsed.
    pub problem: Option<String>,
}

impl<'a> Source<'a> {
    /// Reads a file; `in_test`: another file declares it under `#[cfg(test)]`.
    fn new(file: &'a str, text: &'a str, in_test: bool) -> Self {
        let source = Self { file, text, ..Self::default() };
        match syn::parse_file(text) {
            Ok(parsed) => Reader::read(source, &parsed, in_test),
            Err(error) => {
                let line = error.span().start().line;
                Self { problem: Some(format!("{file}:{line}: cannot be parsed: {error}")), ..source }
            }
        }
    }

    /// The file's module: `src/app/jobs/mod.rs` and `src/app/jobs.rs` are both `[crate, app, jobs]`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.file.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module = vec!["crate".to_owned()];
        module.extend(inner.split('/').map(str::to_owned));
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }
}

/// Reads all files. A file is test code if the file that declares it says so.
pub fn read<'a>(files: &[(&'a str, &'a str)]) -> Vec<Source<'a>> {
    let mut sources: Vec<Source> = files.iter().map(|(file, text)| Source::new(file, text, false)).collect();
    let test_modules: Vec<Vec<String>> = sources.iter().flat_map(|source| &source.modules).flat_map(Scope::test_modules).collect();
    for source in &mut sources {
        if test_modules.iter().any(|module| source.module().starts_with(module)) {
            *source = Source::new(source.file, source.text, true);
        }
    }
    sources
}
