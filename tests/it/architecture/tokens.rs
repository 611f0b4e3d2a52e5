//! Reads the tokens that `syn` leaves unparsed: arguments and bodies of macros, and arguments of attributes.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// A part of the tokens that the rules ask about.
pub enum Found {
    /// A path such as `a::b`, or a single name.
    Path(TokenPath),
    /// The method of a call: `unwrap` in `x.unwrap()`.
    Method {
        name: String,
        line: usize,
    },
    Literal {
        text: String,
        line: usize,
        within: String,
    },
    Import(syn::ItemUse),
    /// A function with `#[test]`, as in `proptest! { .. }`.
    Test {
        name: String,
        line: usize,
    },
}

pub struct TokenPath {
    pub path: Vec<String>,
    pub line: usize,
    /// Starts with `::`, so the first segment is the name of another crate.
    pub outside: bool,
    pub is_macro: bool,
    pub is_call: bool,
}

/// Adds what the tokens hold. `within` is the name of the macro they belong to.
pub fn scan(tokens: TokenStream, within: &str, found: &mut Vec<Found>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut is_test = false;
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        match tree {
            TokenTree::Group(group) => scan(group.stream(), within, found),
            TokenTree::Literal(literal) => {
                if let Some(text) = text_of(&syn::Lit::new(literal.clone())) {
                    found.push(Found::Literal { text, line: literal.span().start().line, within: within.to_owned() });
                }
            }
            // The name of a lifetime is no path.
            TokenTree::Punct(mark) if mark.as_char() == '\'' => at += 1,
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if let Some((skipped, attribute)) = attribute(&trees[at + 1..]) {
                    let name = attribute.stream().into_iter().next().map(|first| first.to_string()).unwrap_or_default();
                    is_test |= attribute_path(attribute).is_some_and(|path| path.last().is_some_and(|last| last == "test"));
                    // A documentation comment is an attribute too.
                    if name != "doc" {
                        scan(attribute.stream(), within, found);
                    }
                    at += skipped;
                }
            }
            TokenTree::Punct(_) => {}
            TokenTree::Ident(word) => {
                let (length, item) = word_at(&trees, at, word, within, &mut is_test, found);
                found.extend(item);
                at += length - 1;
            }
        }
        at += 1;
    }
}

/// What starts with this word, and how many tokens it takes.
fn word_at(
    trees: &[TokenTree],
    at: usize,
    word: &Ident,
    within: &str,
    is_test: &mut bool,
    found: &mut Vec<Found>,
) -> (usize, Option<Found>) {
    let line = word.span().start().line;
    if word == "use"
        && let Some((length, item)) = import(&trees[at..])
    {
        return (length, Some(Found::Import(item)));
    }
    if word == "fn"
        && std::mem::take(is_test)
        && let Some(TokenTree::Ident(name)) = trees.get(at + 1)
    {
        return (2, Some(Found::Test { name: name.to_string(), line }));
    }
    let (path, length) = path_at(trees, at);
    let next = trees.get(at + length);
    let is_call = matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
    if is_mark(trees, at.wrapping_sub(1), '.') && !is_mark(trees, at.wrapping_sub(2), '.') {
        let name = path.into_iter().next().unwrap_or_default();
        return (length, is_call.then_some(Found::Method { name, line }));
    }
    let outside = is_mark(trees, at.wrapping_sub(1), ':') && is_mark(trees, at.wrapping_sub(2), ':');
    let mut is_macro = false;
    let mut length = length;
    if is_mark(trees, at + length, '!')
        && let Some(TokenTree::Group(body)) = trees.get(at + length + 1)
    {
        is_macro = true;
        scan(body.stream(), path.last().map_or(within, String::as_str), found);
        length += 2;
    }
    (length, Some(Found::Path(TokenPath { path, line, outside, is_macro, is_call })))
}

/// The path that starts at this word, and how many tokens it takes.
fn path_at(trees: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let mut path = vec![trees[at].to_string()];
    let mut length = 1;
    while is_mark(trees, at + length, ':')
        && is_mark(trees, at + length + 1, ':')
        && let Some(TokenTree::Ident(word)) = trees.get(at + length + 2)
    {
        path.push(word.to_string());
        length += 3;
    }
    (path, length)
}

fn is_mark(trees: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(trees.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

/// The brackets of an attribute whose `#` stands before these tokens, and how many tokens they take.
fn attribute(trees: &[TokenTree]) -> Option<(usize, &Group)> {
    let skipped = usize::from(is_mark(trees, 0, '!'));
    match trees.get(skipped) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => Some((skipped + 1, group)),
        _ => None,
    }
}

fn attribute_path(attribute: &Group) -> Option<Vec<String>> {
    let trees: Vec<TokenTree> = attribute.stream().into_iter().collect();
    matches!(trees.first(), Some(TokenTree::Ident(_))).then(|| path_at(&trees, 0).0)
}

/// A whole `use ..;` and how many tokens it takes.
fn import(trees: &[TokenTree]) -> Option<(usize, syn::ItemUse)> {
    let length = (0..trees.len()).find(|at| is_mark(trees, *at, ';'))? + 1;
    let item = syn::parse2(trees[..length].iter().cloned().collect()).ok()?;
    Some((length, item))
}

/// The text of a string or byte string.
pub fn text_of(literal: &syn::Lit) -> Option<String> {
    match literal {
        syn::Lit::Str(text) => Some(text.value()),
        syn::Lit::ByteStr(bytes) => Some(String::from_utf8_lossy(&bytes.value()).into_owned()),
        _ => None,
    }
}

/// `key = "text"`, as attributes have it.
pub struct Setting {
    pub key: String,
    pub text: String,
    pub line: usize,
}

/// Every `key = "text"` and `key = ["text", ..]` in the tokens, at any depth.
pub fn settings(tokens: TokenStream) -> Vec<Setting> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            found.extend(settings(group.stream()));
        }
        let TokenTree::Ident(key) = tree else { continue };
        if !is_mark(&trees, at + 1, '=') {
            continue;
        }
        let values = match trees.get(at + 2) {
            Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Bracket => list.stream(),
            Some(value) => TokenStream::from(value.clone()),
            None => continue,
        };
        for value in values {
            if let TokenTree::Literal(value) = value
                && let Some(text) = text_of(&syn::Lit::new(value.clone()))
            {
                found.push(Setting { key: key.to_string(), text, line: value.span().start().line });
            }
        }
    }
    found
}

/// The path behind `key =`, joined by points: `as = a::B` is `a.B`.
pub fn named_setting(tokens: TokenStream, key: &str) -> Option<String> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let at = (0..trees.len()).find(|at| matches!(&trees[*at], TokenTree::Ident(word) if word == key) && is_mark(&trees, at + 1, '='))?;
    matches!(trees.get(at + 2), Some(TokenTree::Ident(_))).then(|| path_at(&trees, at + 2).0.join("."))
}
