//! Every refusal that a handler can return is documented: follows the calls of each handler through the source to the errors
//! that they make, and compares their statuses with the OpenAPI document.
//!
//! Calls of functions are followed by their paths. Types are not known here, so a method is followed if only one type of the
//! tree has a method of that name, or if the receiver has the name of the type or of a module around it: `app.jobs.retry()`.
//! So the rule misses some errors; the test harness (`harness::documented`) notices those that a test meets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syn::visit::{self, Visit};

use super::attributes::is_test;
use super::scope::{Scope, absolute};
use super::source::Source;
use super::tokens::{Found, scan};
use super::{borrowed, tree};

const ERROR: [&str; 4] = ["crate", "platform", "error", "Error"];

/// The statuses of the variants and constructors of `Error`; none for what is no refusal.
const STATUSES: [(&str, &[u16]); 21] = [
    ("BadRequest", &[400]),
    ("Unauthenticated", &[401]),
    ("Forbidden", &[403]),
    ("PlanLimit", &[403]),
    ("NotFound", &[404]),
    ("NoRoute", &[404]),
    ("not_found", &[404]),
    ("MethodNotAllowed", &[405]),
    ("Conflict", &[409]),
    ("InProgress", &[409]),
    ("TooLarge", &[413]),
    ("UnsupportedMediaType", &[415]),
    ("UnsupportedCoding", &[415]),
    ("RangeNotSatisfiable", &[416]),
    ("Invalid", &[422]),
    ("invalid", &[422]),
    ("RateLimited", &[429]),
    ("Internal", &[500]),
    ("Upstream", &[502]),
    ("Unavailable", &[503]),
    ("Contended", &[503]),
];

/// Operations that call a function which makes an error of this status, but never return it, and the reason.
const NEVER: [(&str, u16, &str); 4] = [
    ("activateUser", 400, "only a deactivation of oneself is refused"),
    ("linkApplePurchase", 502, "a failing App Store does not refuse a purchase that it has signed"),
    ("logout", 401, "an invalid token has no session to end"),
    ("openWebSocket", 409, "who may not connect gets a socket that closes with code 1008"),
];

/// Methods that other crates have too (`str::parse`, `Vec::push`, base64's `decode`, backon's `retry`): followed only by the name of
/// the receiver.
const FOREIGN: [&str; 8] = ["decode", "drain", "next", "parse", "push", "retry", "send", "write"];

/// A function, or a constant that holds an error.
#[derive(Default)]
struct Function {
    /// The operation that it handles.
    operation: Option<String>,
    paths: Vec<Vec<String>>,
    /// Calls of methods: the name of the receiver, where it is a variable or a field, and of the method.
    methods: Vec<(Option<String>, String)>,
    is_method: bool,
}

/// All functions by their paths; a method is below its type.
type Functions = BTreeMap<Vec<String>, Function>;

struct Collector<'f> {
    scope: Scope,
    /// The type of the `impl` that is open.
    of_type: Option<Vec<String>>,
    functions: &'f mut Functions,
    open: Function,
}

impl Collector<'_> {
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        match (&self.of_type, path.first().map(String::as_str)) {
            (Some(of_type), Some("Self")) => [of_type, &path[1..]].concat(),
            _ => absolute(std::slice::from_ref(&self.scope), path),
        }
    }

    fn function(&mut self, attributes: &[syn::Attribute], name: &syn::Ident, read: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.open);
        read(self);
        let mut function = std::mem::replace(&mut self.open, outer);
        function.operation = attributes.iter().find_map(operation_id);
        let parent = self.of_type.as_ref().unwrap_or(&self.scope.module);
        self.functions.insert([&parent[..], &[name.to_string()]].concat(), function);
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let Some((_, items)) = &module.content else { return };
        if !is_test(&module.attrs) {
            let inner = Scope::new([&self.scope.module[..], &[module.ident.to_string()]].concat(), false, items);
            let outer = std::mem::replace(&mut self.scope, inner);
            visit::visit_item_mod(self, module);
            self.scope = outer;
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*block.self_ty {
            self.of_type = Some(self.absolute(names(&path.path)));
        }
        visit::visit_item_impl(self, block);
        self.of_type = None;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig.ident, |collector| visit::visit_item_fn(collector, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig.ident, |collector| {
            collector.open.is_method = item.sig.receiver().is_some();
            visit::visit_impl_item_fn(collector, item);
        });
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.function(&[], &item.ident, |collector| visit::visit_item_const(collector, item));
    }

    // A pattern makes nothing: `Err(Error::Conflict { .. }) => ..`.
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path = self.absolute(names(path));
        self.open.paths.push(path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.open.methods.push((receiver(&call.receiver), call.method.to_string()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut found = Vec::new();
        scan(call.tokens.clone(), "", &mut found);
        for item in found {
            match item {
                Found::Path(found) if !found.outside => {
                    let path = self.absolute(found.path);
                    self.open.paths.push(path);
                }
                Found::Method { name, .. } => self.open.methods.push((None, name)),
                _ => {}
            }
        }
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

/// The name of a variable or field.
fn receiver(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        syn::Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => Some(name.to_string()),
            syn::Member::Unnamed(_) => None,
        },
        syn::Expr::Reference(reference) => receiver(&reference.expr),
        _ => None,
    }
}

fn names(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// The `operation_id` of `#[utoipa::path(..)]`.
fn operation_id(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::List(list) = &attribute.meta else { return None };
    let text = list.tokens.to_string();
    let id = text.split_once("operation_id = \"")?.1.split('"').next()?;
    Some(id.to_owned())
}

fn functions(files: &[(&str, &str)]) -> Functions {
    let mut functions = Functions::new();
    for (file, text) in files {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = Source { file, ..Source::default() }.module();
        let scope = Scope::new(module, false, &parsed.items);
        Collector { scope, of_type: None, functions: &mut functions, open: Function::default() }.visit_file(&parsed);
    }
    functions
}

/// The statuses that each operation can return by its calls, each with the function that makes the error.
fn refusals(functions: &Functions) -> BTreeMap<String, BTreeMap<u16, String>> {
    let mut by_name: HashMap<&str, Vec<&Vec<String>>> = HashMap::new();
    for path in functions.keys() {
        by_name.entry(path[path.len() - 1].as_str()).or_default().push(path);
    }
    let named = |name: &str| by_name.get(name).map(Vec::as_slice).unwrap_or_default();
    let handlers = functions.iter().filter_map(|(path, function)| function.operation.as_ref().map(|id| (path, id)));
    let reach = |handler: &Vec<String>| {
        let mut found = BTreeMap::new();
        let (mut seen, mut open) = (BTreeSet::from([handler.clone()]), vec![handler.clone()]);
        while let Some(path) = open.pop() {
            let mut next: Vec<&Vec<String>> = Vec::new();
            for called in &functions[&path].paths {
                if let Some(statuses) = statuses(called) {
                    for status in statuses {
                        found.entry(*status).or_insert_with(|| path.join("::"));
                    }
                } else if let Some((known, _)) = functions.get_key_value(called) {
                    next.push(known);
                } else if let [parent @ .., name] = called.as_slice() {
                    // A re-export: the function is in a module below.
                    next.extend(named(name).iter().filter(|other| parent.len() > 1 && other.starts_with(parent)));
                    // An extractor in the handler's signature.
                    let extracts = ["from_request", "from_request_parts"].map(|name| [called, &[name.to_owned()][..]].concat());
                    next.extend(extracts.iter().filter_map(|path| functions.get_key_value(path)).map(|(path, _)| path));
                }
            }
            for (receiver, method) in &functions[&path].methods {
                let methods: Vec<_> = named(method).iter().filter(|path| functions[**path].is_method).collect();
                let is_of_receiver =
                    |path: &[String]| receiver.as_ref().is_some_and(|name| path.iter().any(|part| part.eq_ignore_ascii_case(name)));
                let is_only = methods.len() == 1 && !FOREIGN.contains(&method.as_str());
                next.extend(methods.into_iter().filter(|path| is_only || is_of_receiver(&path[..path.len() - 1])));
            }
            open.extend(next.into_iter().filter(|path| seen.insert((*path).clone())).cloned());
        }
        found
    };
    handlers.map(|(path, id)| (id.clone(), reach(path))).collect()
}

/// The statuses of a path to a variant or constructor of `Error`; `None` for any other path.
fn statuses(path: &[String]) -> Option<&'static [u16]> {
    let [parent @ .., name] = path else { return None };
    let of_error = parent == ERROR;
    STATUSES.iter().find(|(known, _)| of_error && known == name).map(|(_, statuses)| *statuses)
}

/// Reports statuses that an operation can return and the document does not describe.
fn undocumented(functions: &Functions, documented: &BTreeMap<String, BTreeSet<u16>>) -> Vec<String> {
    let mut found = Vec::new();
    for (operation, statuses) in refusals(functions) {
        let Some(described) = documented.get(&operation) else {
            found.push(format!("{operation} is not in the document"));
            continue;
        };
        let never = |status| NEVER.iter().any(|(of, excepted, _)| *of == operation && *excepted == status);
        for (status, maker) in statuses.into_iter().filter(|(status, _)| !described.contains(status) && !never(*status)) {
            found.push(format!("{operation} can return {status}, made in {maker}: add it to `responses(..)`, or to NEVER with a reason"));
        }
    }
    found
}

#[test]
fn every_refusal_of_a_handler_is_documented() {
    let apis = crate::contract::documents();
    let paths = apis.iter().flat_map(|api| api["paths"].as_object().unwrap().values());
    let operations = paths.flat_map(|item| item.as_object().unwrap().values());
    let described = operations.filter_map(|operation| {
        let statuses = operation["responses"].as_object()?.keys().map(|status| status.parse().unwrap()).collect();
        Some((operation["operationId"].as_str()?.to_owned(), statuses))
    });
    let documented: BTreeMap<String, BTreeSet<u16>> = described.collect();
    let files = tree(&["src"]);
    let functions = functions(&borrowed(&files));
    let found = undocumented(&functions, &documented);
    assert!(found.is_empty(), "\n{}", found.join("\n"));

    // The rule sees what it should: calls through a service, a constant, a closure, a macro and a method.
    let seen = refusals(&functions);
    assert_eq!(seen.len(), documented.len(), "every operation has a handler");
    for (operation, status) in
        [("login", 401), ("register", 409), ("deactivateUser", 400), ("retryJob", 400), ("uploadBytes", 413), ("createProject", 422)]
    {
        assert!(seen[operation].contains_key(&status), "{operation} {status}: {:?}", seen[operation]);
    }
    // A variant that is not listed would be missed.
    let listed = |name: &str| STATUSES.iter().any(|(known, _)| *known == name);
    let source = &files.iter().find(|(file, _)| file == "src/platform/error.rs").unwrap().1;
    let error = syn::parse_file(source).unwrap().items.into_iter().find_map(|item| match item {
        syn::Item::Enum(item) if item.ident == "Error" => Some(item),
        _ => None,
    });
    for variant in error.unwrap().variants {
        assert!(listed(&variant.ident.to_string()), "the status of Error::{} is not listed here", variant.ident);
    }
}

#[test]
fn undocumented_refusal_is_reported() {
    let planted = [
        (
            "src/features/notes/routes.rs",
            "use super::service; use crate::platform::error::Error;
             #[utoipa::path(get, path = \"/notes\", operation_id = \"listNotes\")]
             async fn list() { service::list().await.map_err(service::deep::failed) }
             #[utoipa::path(post, path = \"/notes\", operation_id = \"createNote\")]
             async fn create(note: Body) { match service::create() { Err(Error::Conflict { .. }) => {} _ => {} } }
             struct Body; impl FromRequest for Body { fn from_request() { Err(Error::UnsupportedMediaType) } }",
        ),
        (
            "src/features/notes/service/mod.rs",
            "pub mod deep; pub use deep::create; use crate::platform::error::Error as Refusal;
             pub fn list() { let x = || GONE; tokio::join!(x.only_one()); app.things.several(); }
             const GONE: Refusal = Refusal::NotFound {}; struct A; impl A { fn only_one(&self) { Self::hidden() } fn hidden() { Refusal::Forbidden(\"\") } }",
        ),
        (
            "src/features/notes/service/deep.rs",
            "use crate::platform::error::Error; use crate::other;
             pub fn create() { Error::invalid(); other::Error::Conflict; other::create() }
             pub fn failed() { Error::Upstream {} } #[cfg(test)] mod tests { fn create() { Error::RateLimited } }",
        ),
        ("src/features/things.rs", "use crate::platform::error::Error; struct T; impl T { fn several(&self) { Error::BadRequest() } }"),
        ("src/other.rs", "struct U; impl U { fn several(&self) { crate::platform::error::Error::Unavailable } } pub fn create() {} pub fn unused() { crate::platform::error::Error::TooLarge }"),
    ];
    let functions = functions(&planted);
    let seen = refusals(&functions);
    assert_eq!(seen["listNotes"].keys().copied().collect::<Vec<_>>(), [400, 403, 404, 502]);
    assert_eq!(seen["createNote"].keys().copied().collect::<Vec<_>>(), [415, 422]);
    let documented = BTreeMap::from([("listNotes".to_owned(), BTreeSet::from([200, 400, 403, 404]))]);
    assert_eq!(
        undocumented(&functions, &documented),
        [
            "createNote is not in the document",
            "listNotes can return 502, made in crate::features::notes::service::deep::failed: add it to `responses(..)`, or to NEVER with a reason"
        ]
    );
}
