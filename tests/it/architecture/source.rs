//! Reads Rust source just well enough for the rules: tokens without comments and literals, the paths that are named,
//! and which lines are test code. Not a parser: what it cannot resolve (a child module's name, a macro's output) it
//! leaves out.

use std::collections::HashMap;
use std::ops::Range;

/// A word, a mark, or `""` in place of any literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path as the code means it: from the crate's root (`crate` first) or from another crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
}

/// One file of the tree.
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub tokens: Vec<Token>,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, tokens: tokens(text) }
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

    pub fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| t.text.as_str())
    }

    /// Whether the tokens from `at` on are these.
    pub fn reads(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.word(at + i) == *word)
    }

    /// The parts of `tokens` that an attribute of this kind covers: the item or statement behind `#[..]`, all behind `#![..]`.
    pub fn under(&self, kind: impl Fn(&[&str]) -> bool) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let inner = usize::from(self.word(at + 1) == "!");
            if self.word(at) != "#" || self.word(at + 1 + inner) != "[" {
                continue;
            }
            let end = closing(&self.tokens, at + 1 + inner);
            let words: Vec<&str> = (at..end).map(|i| self.word(i)).collect();
            if kind(&words) {
                found.push(at..if inner == 1 { self.tokens.len() } else { item_end(&self.tokens, end) });
            }
        }
        found
    }

    /// Every path the file names, and the names its `use` items give to paths.
    pub fn paths(&self) -> (Vec<Named>, HashMap<String, Vec<String>>) {
        let mut walk = Walk { source: self, module: self.module(), inline: Vec::new(), depth: 0, found: Vec::new(), names: HashMap::new() };
        walk.run();
        let Walk { mut found, names, .. } = walk;
        for named in &mut found {
            named.path = expand(std::mem::take(&mut named.path), &names);
        }
        (found, names)
    }
}

/// Replaces a leading name by the path it stands for; that may start with a name again, but not without end.
fn expand(mut path: Vec<String>, names: &HashMap<String, Vec<String>>) -> Vec<String> {
    for _ in 0..4 {
        let Some(meaning) = path.first().and_then(|head| names.get(head)) else { break };
        if path.starts_with(meaning) {
            break;
        }
        path.splice(..1, meaning.iter().cloned());
    }
    path
}

struct Walk<'s, 'a> {
    source: &'s Source<'a>,
    module: Vec<String>,
    /// Modules written inside the file that are open here, with the depth of their brace.
    inline: Vec<(String, usize)>,
    depth: usize,
    found: Vec<Named>,
    names: HashMap<String, Vec<String>>,
}

impl Walk<'_, '_> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.source.tokens.len() {
            match self.source.word(at) {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inline.pop_if(|(_, depth)| *depth == self.depth);
                }
                "mod" if self.source.word(at + 2) == "{" => self.inline.push((self.source.word(at + 1).to_owned(), self.depth)),
                // `impl Trait + use<'a>` is no import.
                "use" if self.source.word(at + 1) != "<" => {
                    at = self.import(at + 1, &[]);
                    continue;
                }
                word if is_word(word) => {
                    at = self.chain(at);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A path inside the code, such as `crate::a::b` or `b::c`.
    fn chain(&mut self, start: usize) -> usize {
        let mut path = vec![self.source.word(start).to_owned()];
        let mut at = start + 1;
        while self.source.word(at) == "::" && is_word(self.source.word(at + 1)) {
            path.push(self.source.word(at + 1).to_owned());
            at += 2;
        }
        let is_macro = self.source.word(at) == "!" && self.source.word(at + 1) != "=";
        if path.len() > 1 && !(is_macro && path.last().is_some_and(|last| last == "env")) {
            self.found.push(Named { path: self.resolve(path), line: self.source.tokens[start].line });
        }
        at
    }

    /// One branch of a `use` tree; returns where it ends.
    fn import(&mut self, start: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let mut at = start;
        loop {
            match self.source.word(at) {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while !matches!(self.source.word(at), "}" | "") {
                        at = self.import(at, &path);
                        at += usize::from(self.source.word(at) == ",");
                    }
                    return at + 1;
                }
                word if word == "*" || is_word(word) => {
                    path.push(word.to_owned());
                    at += 1;
                    if self.source.word(at) != "::" {
                        break;
                    }
                }
                _ => return at + 1,
            }
        }
        let line = self.source.tokens[at - 1].line;
        // `a::{self}` is `a`.
        if path.len() > 1 {
            path.pop_if(|last| last == "self");
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.source.word(at) == "as" {
            self.source.word(at + 1).clone_into(&mut name);
            at += 2;
        }
        let path = self.resolve(path);
        if name != "*" && name != "_" && path[0] != name {
            self.names.insert(name, path.clone());
        }
        self.found.push(Named { path, line });
        at
    }

    /// Makes `self::` and `super::` absolute.
    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        if !matches!(path[0].as_str(), "self" | "super") {
            return path;
        }
        let mut module = self.module.clone();
        module.extend(self.inline.iter().map(|(name, _)| name.clone()));
        let mut rest = path.into_iter().peekable();
        while let Some(step) = rest.next_if(|step| matches!(step.as_str(), "self" | "super")) {
            if step == "super" && module.len() > 1 {
                module.pop();
            }
        }
        module.extend(rest);
        module
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The place after the item that starts here, further attributes included.
fn item_end(tokens: &[Token], start: usize) -> usize {
    // A comma ends a field, a variant or an argument; in an item it only parts generics.
    let mut is_item = false;
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "(" | "[" => at = closing(tokens, at),
            "{" => return closing(tokens, at),
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            ")" | "}" => return at,
            word => {
                is_item |= matches!(word, "fn" | "impl" | "struct" | "enum" | "trait" | "type" | "use" | "const" | "static");
                at += 1;
            }
        }
    }
    at
}

/// The place after the bracket that closes the one here.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Splits a text into tokens, without its comments; `::` is one token.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, token) = next(rest, first);
        if let Some(text) = token {
            found.push(Token { text, line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of what comes first and, unless it is space or a comment, its token.
fn next(rest: &str, first: char) -> (usize, Option<String>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = literal(rest) {
        return (length, Some("\"\"".to_owned()));
    }
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if rest.starts_with("::") {
        return (2, Some("::".to_owned()));
    }
    // `r#use` stays one word with its prefix, for it is a name and not the keyword.
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let end = rest[raw..].find(|c| !word(c)).map_or(rest.len(), |length| raw + length);
    let length = if end > raw { end } else { first.len_utf8() };
    (length, Some(rest[..length].to_owned()))
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let step = &rest.as_bytes()[at..];
        if step.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if step.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string, byte string or character that stands here; a lifetime is none of them.
fn literal(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|body| body.trim_start_matches('#').starts_with('"') && (prefix.contains('r') || body.starts_with('"')))
    });
    if let Some(prefix) = prefix {
        let body = &rest[prefix.len()..];
        if prefix.contains('r') {
            let hashes = body.len() - body.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let start = prefix.len() + hashes + 1;
            return Some(rest[start..].find(&end).map_or(rest.len(), |found| start + found + end.len()));
        }
        return Some(prefix.len() + quoted(body, '"'));
    }
    let body = rest.strip_prefix('b').unwrap_or(rest);
    let mut after = body.strip_prefix('\'')?.chars();
    let character = after.next()?;
    (character == '\\' || after.next() == Some('\'')).then(|| rest.len() - body.len() + quoted(body, '\''))
}

/// The length up to and with the closing mark, backslashes minded.
fn quoted(body: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    body.len()
}
