//! Planted import circles, and what is none.

use super::super::imports::{circles, graph};
use super::super::source::read;

fn found(files: &[(&str, &str)]) -> Vec<String> {
    circles(&graph(&read(files)))
}

#[track_caller]
fn none(files: &[(&str, &str)]) {
    assert_eq!(found(files), Vec::<String>::new());
}

/// A file `b.rs` names the item `a::A` by this text, and `a.rs` names `b::B`.
fn back(text: &str) -> Vec<String> {
    found(&[
        ("src/lib.rs", "mod a;\nmod b;\npub use a::A as Other;"),
        ("src/a.rs", "pub struct A;\n\nfn f(b: crate::b::B) {}\n#[macro_export] macro_rules! a { () => {} }"),
        ("src/b.rs", &format!("pub struct B;\n{text}")),
    ])
}

#[test]
fn files_naming_each_other_are_a_circle() {
    for text in [
        "use crate::a::A;",
        "use super::a::A;",
        "use crate::{a::{A as Z}};",
        "use crate::a::*;",
        "use crate::a::A::{self, *};",
        "use crate::Other;",
        "use crate as root; use root::a::A;",
        "fn f() { use crate::a::A; }",
        "fn f() -> crate::a::A { x }",
        "fn f() { crate::a::A::new() }",
        "use crate::a; fn f() -> Option<a::A> { x }",
        "impl crate::a::A {}",
        "mod inner { use super::super::a::A; }",
        "fn f() { vec![crate::a::A] }",
        "fn f() { crate::a!() }",
        "use crate::a; fn f() { a!() }",
        "macro_rules! m { () => { $crate::a::A } }",
        "#[derive(crate::a::A)] struct S;",
        "fn f() { crate::a::made_by_a_macro() }",
        "#[cfg(unix)] use crate::a::A;",
    ] {
        assert_eq!(back(text), ["import circle: src/a.rs:3 -> src/b.rs:2 -> src/a.rs"], "{text}");
    }
}

#[test]
fn name_that_uses_nothing_is_no_edge() {
    for text in [
        "mod c;",
        "// crate::a::A\n/// [`crate::a::A`]\nstruct S;",
        "const X: &str = \"crate::a::A\";",
        "pub use crate::a::A;",
        "pub(super) use crate::a::A;",
        "pub use crate::a::A as z; fn f() { let z = 1; g(z, |z| z); }",
        "use crate::a;",
        "pub(in crate::a) struct S;",
        "#[cfg(test)] use crate::a::A;",
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "fn f() { #[cfg(test)] crate::a::A::new(); }",
        "struct A; fn f(a: A, b: ::a::A, c: a::A, d: self::A) {}",
        "mod a { pub fn a() {} } impl B { fn f(self) { self } }",
        "fn f<'a>(x: &'a u8) { m!(x.A(), 'a: loop {}) }",
    ] {
        assert_eq!(back(text), Vec::<String>::new(), "{text}");
    }
    none(&[
        ("src/lib.rs", "mod a;"),
        ("src/a/mod.rs", "#[cfg(test)]\nmod stories;\npub fn f() { stories::g() }"),
        ("src/a/stories.rs", "use super::f; pub fn g() {}"),
    ]);
}

#[test]
fn reexport_leads_to_the_file_that_defines() {
    let lib = ("src/lib.rs", "mod a;");
    let face = ("src/a/mod.rs", "mod b;\nmod c;\nmod d;\npub use b::B;\npub use c::*;");
    let b = ("src/a/b.rs", "use super::C;\npub struct B;");
    none(&[lib, face, b, ("src/a/c.rs", "pub struct C;"), ("src/a/d.rs", "use super::{B, C};")]);
    assert_eq!(
        found(&[lib, face, b, ("src/a/c.rs", "pub struct C;\nfn f(b: super::B) {}")]),
        ["import circle: src/a/b.rs:1 -> src/a/c.rs:2 -> src/a/b.rs"]
    );
    assert_eq!(
        found(&[lib, face, b, ("src/a/c.rs", "use crate::a::*;\npub struct C;")]),
        ["import circle: src/a/b.rs:1 -> src/a/c.rs:1 -> src/a/b.rs"]
    );
    // The file that re-exports is in a circle only if it also uses what it re-exports.
    let child = ("src/a/b.rs", "pub struct B;\nfn f() { super::own() }");
    none(&[lib, ("src/a/mod.rs", "mod b;\npub use b::B;\nfn own() {}"), child]);
    for text in [
        "mod b;\npub use b::B;\nfn own(b: &B) {}",
        "mod b;\npub use b::B;\nfn own() { vec![B] }",
        "mod b;\nuse b as z;\nfn own() -> z::B { x }",
    ] {
        assert_eq!(found(&[lib, ("src/a/mod.rs", text), child]), ["import circle: src/a/b.rs:2 -> src/a/mod.rs:3 -> src/a/b.rs"], "{text}");
    }
}

#[test]
fn reexport_chosen_by_cfg_leads_to_all_files() {
    let face = "mod b;\nmod c;\n#[cfg(x)]\npub use b::X;\n#[cfg(not(x))]\npub use c::X;";
    let files = |b: &'static str, c: &'static str| {
        found(&[
            ("src/lib.rs", "mod a;\nmod d;"),
            ("src/a/mod.rs", face),
            ("src/a/b.rs", b),
            ("src/a/c.rs", c),
            ("src/d.rs", "pub struct D(crate::a::X);"),
        ])
    };
    let back = "pub struct X;\nuse crate::d::D;";
    assert_eq!(files(back, "pub struct X;"), ["import circle: src/a/b.rs:2 -> src/d.rs:1 -> src/a/b.rs"]);
    assert_eq!(files("pub struct X;", back), ["import circle: src/a/c.rs:2 -> src/d.rs:1 -> src/a/c.rs"]);
}

#[test]
fn circle_is_reported_once_by_a_shortest_way() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e; mod f;"),
        ("src/a.rs", "pub struct A; use crate::b::B;"),
        ("src/b.rs", "pub struct B;\nuse crate::c::C;"),
        ("src/c.rs", "pub struct C;\n\nuse crate::a::A;"),
        ("src/d.rs", "pub struct D;\nuse crate::{a::A, e::E};"),
        ("src/e.rs", "pub struct E;\nuse crate::b::B;"),
        ("src/f.rs", "pub struct F;"),
    ];
    assert_eq!(found(&files), ["import circle: src/a.rs:1 -> src/b.rs:2 -> src/c.rs:3 -> src/a.rs"]);
    let mut files = files;
    files[5].1 = "pub struct E;\nuse crate::{b::B, f::F};";
    files[6].1 = "pub struct F;\nuse crate::d::D;";
    files[4].1 = "pub struct D;\nuse crate::e::E;";
    let three = "import circle: src/d.rs:2 -> src/e.rs:2 -> src/f.rs:2 -> src/d.rs";
    assert_eq!(found(&files), ["import circle: src/a.rs:1 -> src/b.rs:2 -> src/c.rs:3 -> src/a.rs", three]);
    files[3].1 = "pub struct C;\nuse crate::{a::A, d::D, b::B};";
    assert_eq!(found(&files), ["import circle: src/b.rs:2 -> src/c.rs:2 -> src/b.rs (one of the circles among 6 files)"]);
}

#[test]
fn graph_prints_as_graphviz() {
    let files = [("src/lib.rs", "mod a; mod b;"), ("src/a.rs", "pub struct A;"), ("src/b.rs", "use crate::a::A;")];
    assert_eq!(graph(&read(&files)).dot(), "digraph imports {\n  \"src/b.rs\" -> \"src/a.rs\";\n}");
}
