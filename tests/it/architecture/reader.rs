//! Walks through the syntax tree of one file and fills its [`Source`].

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemUse, Meta};

use super::attributes::{Attributes, is_excuse, is_test, schema_name};
use super::scope::{Scope, absolute, is_reexport, leaves};
use super::source::{ATTRIBUTE, At, Kind, Literal, Named, Source};
use super::tokens::{Found, scan, settings, text_of};

pub struct Reader<'a> {
    source: Source<'a>,
    /// Modules and blocks that are open here.
    scopes: Vec<Scope>,
    /// Names of variables in this function, because they hide imports.
    bound: HashSet<String>,
    in_test: bool,
    /// Under `#[expect(clippy::unwrap_used, ..)]` or `#[expect(clippy::expect_used, ..)]`.
    excused: bool,
}

impl<'a> Reader<'a> {
    /// Fills the source; `in_test`: all of the file is test code.
    pub fn read(source: Source<'a>, parsed: &syn::File, in_test: bool) -> Source<'a> {
        let scope = Scope::new(source.module(), false, &parsed.items);
        let in_test = in_test || is_test(&parsed.attrs);
        let mut reader = Self { source, scopes: Vec::new(), bound: HashSet::new(), in_test, excused: false };
        reader.within(scope, |reader| reader.visit_file(parsed));
        reader.source
    }

    /// Reads a part of the file on which these attributes stand.
    fn under(&mut self, attributes: &[Attribute], read: impl FnOnce(&mut Self)) {
        let before = (self.in_test, self.excused);
        self.in_test |= is_test(attributes);
        self.excused |= attributes.iter().any(is_excuse);
        read(self);
        (self.in_test, self.excused) = before;
    }

    fn within(&mut self, scope: Scope, read: impl FnOnce(&mut Self)) {
        self.scopes.push(scope);
        read(self);
        let scope = self.scopes.pop();
        self.source.modules.extend(scope.filter(|scope| !scope.is_block && !self.in_test));
    }

    fn path(&mut self, path: &syn::Path, is_macro: bool) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(1, |first| first.ident.span().start().line);
        self.code(names, line, is_macro, path.leading_colon.is_some());
    }

    fn code(&mut self, path: Vec<String>, line: usize, is_macro: bool, outside: bool) {
        let kind = match path.len() {
            _ if is_macro => Kind::Macro,
            1 => Kind::Name,
            _ => Kind::Path,
        };
        self.name(path, line, kind, outside);
    }

    fn name(&mut self, path: Vec<String>, line: usize, kind: Kind, outside: bool) {
        if path.len() > 1 && matches!(path.last().map(String::as_str), Some("unwrap" | "expect")) {
            self.panics(&path[path.len() - 1], line);
        }
        if path[0] == "Self" || path == ["self"] || (kind == Kind::Name && self.bound.contains(&path[0])) {
            return;
        }
        let path = if outside { path } else { absolute(&self.scopes, path) };
        self.source.named.push(Named { path, line, kind, in_test: self.in_test });
    }

    fn panics(&mut self, name: &str, line: usize) {
        if matches!(name, "unwrap" | "expect") && !self.in_test && !self.excused {
            self.source.panics.push(At { name: name.to_owned(), line });
        }
    }

    fn literal(&mut self, text: String, line: usize, within: String) {
        // `#[serde(with = "a::b")]` names a path by a string.
        if within == ATTRIBUTE
            && let Some(path) = path_in(&text)
        {
            self.code(path, line, false, false);
        }
        self.source.literals.push(Literal { text, line, within });
    }

    fn import(&mut self, item: &ItemUse) {
        let kind = if is_reexport(item) { Kind::Reexport } else { Kind::Import };
        for leaf in leaves(item) {
            self.name(leaf.path, leaf.line, kind, item.leading_colon.is_some());
        }
    }

    fn tokens(&mut self, tokens: TokenStream, within: &str) {
        let mut found = Vec::new();
        scan(tokens, within, &mut found);
        for item in found {
            match item {
                Found::Import(item) => self.import(&item),
                Found::Literal { text, line, within } => self.literal(text, line, within),
                Found::Method { name, line } => self.panics(&name, line),
                Found::Test { name, line } => self.source.tests.push(At { name, line }),
                Found::Path(found) => {
                    // A lone lower-case word is mostly a field, a key or a variable.
                    let says_much =
                        found.path.len() > 1 || found.is_macro || found.is_call || found.path[0].starts_with(char::is_uppercase);
                    if says_much {
                        self.code(found.path, found.line, found.is_macro, found.outside);
                    }
                }
            }
        }
    }

    fn function(&mut self, attributes: &[Attribute], name: &Ident, read: impl FnOnce(&mut Self)) {
        if attributes.iter().any(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "test")) {
            self.source.tests.push(At { name: name.to_string(), line: name.span().start().line });
        }
        let outer = self.bound.clone();
        read(self);
        self.bound = outer;
    }

    /// The functions that `on_both_backends![..]` and `on_sqlite![..]` make tests of.
    fn stories(&mut self, tokens: TokenStream) {
        for tree in tokens {
            if let TokenTree::Ident(name) = tree {
                self.source.tests.push(At { name: name.to_string(), line: name.span().start().line });
            }
        }
    }

    fn schema(&mut self, attributes: &[Attribute], ident: &Ident) {
        if let Some(name) = schema_name(attributes, ident).filter(|_| !self.in_test) {
            self.source.schemas.push(At { name, line: ident.span().start().line });
        }
    }
}

/// Nodes that may stand under `#[cfg(test)]` or `#[expect(..)]`.
macro_rules! visit_under_attributes {
    ($($visit:ident: $node:ident),+) => {$(
        fn $visit(&mut self, node: &'ast syn::$node) {
            self.under(node.attributes(), |reader| visit::$visit(reader, node));
        }
    )+};
}

impl<'ast> Visit<'ast> for Reader<'_> {
    visit_under_attributes!(
        visit_item: Item, visit_impl_item: ImplItem, visit_trait_item: TraitItem, visit_foreign_item: ForeignItem, visit_stmt: Stmt,
        visit_expr: Expr, visit_arm: Arm, visit_field: Field, visit_variant: Variant, visit_field_value: FieldValue
    );

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let module = [&self.scopes[self.scopes.len() - 1].module[..], &[item.ident.to_string()]].concat();
        self.within(Scope::new(module, false, items), |reader| visit::visit_item_mod(reader, item));
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let items = block.stmts.iter().filter_map(|statement| if let syn::Stmt::Item(item) = statement { Some(item) } else { None });
        let module = self.scopes[self.scopes.len() - 1].module.clone();
        self.within(Scope::new(module, true, items), |reader| visit::visit_block(reader, block));
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig.ident, |reader| visit::visit_item_fn(reader, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig.ident, |reader| visit::visit_impl_item_fn(reader, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.attrs, &item.sig.ident, |reader| visit::visit_trait_item_fn(reader, item));
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.schema(&item.attrs, &item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.schema(&item.attrs, &item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = pattern.ident.to_string();
        // A name in capitals is a constant that the value is compared with.
        if !name.starts_with(char::is_uppercase) {
            self.bound.insert(name);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path, false);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.panics(&call.method.to_string(), call.method.span().start().line);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.path(&call.path, true);
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if matches!(name.as_str(), "on_both_backends" | "on_sqlite") {
            self.stories(call.tokens.clone());
        }
        self.tokens(call.tokens.clone(), &name);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // Documentation and conditions name nothing that the code uses.
        if ["doc", "cfg", "expect", "allow"].iter().any(|name| attribute.path().is_ident(name)) {
            return;
        }
        if attribute.path().segments.len() > 1 {
            self.path(attribute.path(), true);
        }
        match &attribute.meta {
            Meta::Path(_) => {}
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
            Meta::List(list) => {
                if is_openapi(attribute) {
                    self.source.openapi.extend(settings(list.tokens.clone()));
                }
                self.tokens(list.tokens.clone(), ATTRIBUTE);
            }
        }
    }

    /// `pub(in crate::a)` uses nothing of `a`.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_lit(&mut self, literal: &'ast syn::Lit) {
        if let Some(text) = text_of(literal) {
            self.literal(text, literal.span().start().line, String::new());
        }
    }
}

/// The segments of `a::b`, if the text is a path of two or more.
fn path_in(text: &str) -> Option<Vec<String>> {
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    (text.contains("::") && text.split("::").all(is_name)).then(|| text.split("::").map(str::to_owned).collect())
}

/// `#[utoipa::path(..)]`, `#[openapi(..)]` and the attributes of schemas and parameters.
fn is_openapi(attribute: &Attribute) -> bool {
    let path = attribute.path();
    let known = ["openapi", "schema", "into_params", "param", "path"];
    path.segments.first().is_some_and(|first| first.ident == "utoipa") || known.iter().any(|name| path.is_ident(name))
}
