//! The names that a module or a block gives to things: its items, its child modules and its imports.

use std::collections::{HashMap, HashSet};

use syn::{Item, ItemUse, UseTree, Visibility};

use super::attributes::is_test;

/// A module, or a block with imports or items of its own.
#[derive(Default)]
pub struct Scope {
    /// The module's path, `crate` first. A block has the one of its module.
    pub module: Vec<String>,
    pub is_block: bool,
    pub items: HashSet<String>,
    children: HashSet<String>,
    /// The paths behind the names of imports, with `self` and `super` resolved. More than one where `cfg` chooses.
    imports: HashMap<String, Vec<Vec<String>>>,
    /// Paths behind `use path::*`.
    globs: Vec<Vec<String>>,
    /// Names of `macro_rules!`.
    pub macros: HashSet<String>,
    /// Children under `#[cfg(test)]`.
    test_children: HashSet<String>,
}

/// One path of a `use` tree.
pub struct Leaf {
    pub path: Vec<String>,
    /// What it is called from here on; `*` for a glob.
    pub name: String,
    pub line: usize,
}

impl Scope {
    pub fn new<'i>(module: Vec<String>, is_block: bool, items: impl IntoIterator<Item = &'i Item>) -> Self {
        let mut scope = Self { module, is_block, ..Self::default() };
        for item in items {
            scope.add(item);
        }
        scope
    }

    fn add(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Mod(item) => {
                self.children.insert(item.ident.to_string());
                if is_test(&item.attrs) {
                    self.test_children.insert(item.ident.to_string());
                }
                return;
            }
            Item::Macro(item) => {
                self.macros.extend(item.ident.iter().map(ToString::to_string));
                return;
            }
            Item::Use(item) => return self.add_import(item),
            _ => return,
        };
        self.items.insert(name.to_string());
    }

    fn add_import(&mut self, item: &ItemUse) {
        for leaf in leaves(item) {
            let path = relative(&self.module, leaf.path);
            if leaf.name == "*" {
                self.globs.push(path[..path.len() - 1].to_vec());
            } else if leaf.name != "_" {
                self.imports.entry(leaf.name).or_default().push(path);
            }
        }
    }

    /// Modules in files of their own, or in this one, that are test code: `#[cfg(test)] mod x;`.
    pub fn test_modules(&self) -> impl Iterator<Item = Vec<String>> {
        self.test_children.iter().map(|name| self.inner(name))
    }

    /// The full paths of what an import stands for.
    pub fn import(&self, name: &str) -> impl Iterator<Item = Vec<String>> {
        self.imports.get(name).into_iter().flatten().map(|path| absolute(std::slice::from_ref(self), path.clone()))
    }

    /// The full paths of all imports.
    pub fn imports(&self) -> impl Iterator<Item = Vec<String>> {
        self.imports.keys().flat_map(|name| self.import(name))
    }

    /// The full paths of the modules that are imported as a whole.
    pub fn globs(&self) -> impl Iterator<Item = Vec<String>> {
        self.globs.iter().map(|path| absolute(std::slice::from_ref(self), path.clone()))
    }

    /// The path of something in here.
    fn inner(&self, name: &str) -> Vec<String> {
        [&self.module[..], &[name.to_owned()]].concat()
    }

    /// What a name stands for here.
    fn meaning(&self, name: &str, has_more: bool) -> Option<Vec<String>> {
        let own = |names: &HashSet<String>| names.contains(name);
        if has_more && own(&self.children) {
            return Some(self.inner(name));
        }
        if let Some(path) = self.imports.get(name).and_then(|paths| paths.first()) {
            return Some(path.clone());
        }
        (own(&self.items) || own(&self.macros) || own(&self.children)).then(|| self.inner(name))
    }
}

/// Whether a `use` makes a name public and so is no use of the thing.
pub fn is_reexport(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

/// Every path of a `use` item.
pub fn leaves(item: &ItemUse) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(&item.tree, &[], &mut found);
    found
}

fn collect(tree: &UseTree, prefix: &[String], found: &mut Vec<Leaf>) {
    let (ident, name) = match tree {
        UseTree::Path(part) => return collect(&part.tree, &[prefix, &[part.ident.to_string()]].concat(), found),
        UseTree::Group(group) => return group.items.iter().for_each(|tree| collect(tree, prefix, found)),
        UseTree::Glob(star) => {
            let line = star.star_token.spans[0].start().line;
            found.push(Leaf { path: [prefix, &["*".to_owned()]].concat(), name: "*".to_owned(), line });
            return;
        }
        UseTree::Name(part) => (&part.ident, None),
        UseTree::Rename(part) => (&part.ident, Some(part.rename.to_string())),
    };
    let mut path = prefix.to_vec();
    // `a::{self}` is `a`.
    if ident != "self" || path.is_empty() {
        path.push(ident.to_string());
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    found.push(Leaf { path, name, line: ident.span().start().line });
}

/// Makes `self::` and `super::` absolute.
fn relative(module: &[String], path: Vec<String>) -> Vec<String> {
    if !matches!(path[0].as_str(), "self" | "super") {
        return path;
    }
    let mut module = module.to_vec();
    let mut rest = path.into_iter().peekable();
    while let Some(step) = rest.next_if(|step| matches!(step.as_str(), "self" | "super")) {
        if step == "super" && module.len() > 1 {
            module.pop();
        }
    }
    module.extend(rest);
    module
}

/// The path as the code means it, from the crate's root or from another crate. `scopes` are those open at this place,
/// the innermost last; names that other modules re-export are not followed.
pub fn absolute(scopes: &[Scope], mut path: Vec<String>) -> Vec<String> {
    let Some(module) = scopes.last().map(|scope| &scope.module) else { return path };
    // A name may stand for another one, but not without end.
    for _ in 0..8 {
        path = relative(module, path);
        if path[0] == "crate" {
            break;
        }
        let Some(meaning) = meaning(scopes, &path[0], path.len() > 1).filter(|meaning| !path.starts_with(meaning)) else { break };
        path.splice(..1, meaning);
    }
    path
}

/// Looks from the innermost block up to the module, which sees no names of the modules around it.
fn meaning(scopes: &[Scope], name: &str, has_more: bool) -> Option<Vec<String>> {
    for scope in scopes.iter().rev() {
        if let Some(path) = scope.meaning(name, has_more) {
            return Some(path);
        }
        if !scope.is_block {
            break;
        }
    }
    None
}
