//! What attributes say of the code under them: that it is test code, that a panic has a reason, how a schema is called.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{AttrStyle, Attribute, Meta, MetaList, Token};

use super::tokens::named_setting;

/// Whether code with these attributes exists in tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => parts(list).iter().any(needs_test),
        _ => false,
    })
}

/// Whether a condition holds in tests only: `test`, or a part of `all(..)` that does.
fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(needs_test),
        Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(needs_test),
        _ => false,
    }
}

fn parts(list: &MetaList) -> Vec<Meta> {
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parsed.map(|parts| parts.into_iter().collect()).unwrap_or_default()
}

/// `#[expect(clippy::unwrap_used, reason = "..")]`. A reason for a whole file would be none for its later lines.
pub fn is_excuse(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let allows = mentions(list.tokens.clone(), "unwrap_used") || mentions(list.tokens.clone(), "expect_used");
    matches!(attribute.style, AttrStyle::Outer) && list.path.is_ident("expect") && allows
}

/// The name in the OpenAPI document of a type that derives `ToSchema`.
pub fn schema_name(attributes: &[Attribute], ident: &Ident) -> Option<String> {
    let lists = || attributes.iter().filter_map(|attribute| if let Meta::List(list) = &attribute.meta { Some(list) } else { None });
    let derives = |list: &MetaList| list.path.is_ident("derive") || list.path.is_ident("cfg_attr");
    if !lists().any(|list| derives(list) && mentions(list.tokens.clone(), "ToSchema")) {
        return None;
    }
    let given = lists().filter(|list| list.path.is_ident("schema")).find_map(|list| named_setting(list.tokens.clone(), "as"));
    Some(given.unwrap_or_else(|| ident.to_string()))
}

fn mentions(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Ident(found) => found == word,
        TokenTree::Group(group) => mentions(group.stream(), word),
        _ => false,
    })
}

/// The attributes of a node, or none where it has none.
pub trait Attributes {
    fn attributes(&self) -> &[Attribute];
}

macro_rules! structs {
    ($($node:ident)+) => {$(
        impl Attributes for syn::$node {
            fn attributes(&self) -> &[Attribute] {
                &self.attrs
            }
        }
    )+};
}

macro_rules! enums {
    ($($node:ident: $($variant:ident)+;)+) => {$(
        impl Attributes for syn::$node {
            fn attributes(&self) -> &[Attribute] {
                match self {
                    $(Self::$variant(node) => &node.attrs,)+
                    _ => &[],
                }
            }
        }
    )+};
}

structs!(Arm Field FieldValue Variant);
enums!(
    Item: Const Enum ExternCrate Fn ForeignMod Impl Macro Mod Static Struct Trait TraitAlias Type Union Use;
    ImplItem: Const Fn Type Macro;
    TraitItem: Const Fn Type Macro;
    ForeignItem: Fn Static Type Macro;
    Stmt: Local Macro;
    Expr: Array Assign Async Await Binary Block Break Call Cast Closure Const Continue Field ForLoop Group If Index Infer Let Lit Loop
        Macro Match MethodCall Paren Path Range RawAddr Reference Repeat Return Struct Try TryBlock Tuple Unary Unsafe While Yield;
);
