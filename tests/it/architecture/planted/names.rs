//! Planted violations of the rules on names.

use super::super::names::long_test_names;
use super::super::source::read;
use super::{passes, planted};

#[test]
fn two_schemas_with_one_name_are_reported() {
    let first = ("src/platform/a.rs", "#[derive(Debug, ToSchema)]\nstruct Page<T>(T);\n#[derive(utoipa::ToSchema)] enum Kind {}");
    for (text, name) in [
        ("#[derive(ToSchema)] struct Page;", "Page"),
        ("#[derive(ToSchema)] #[schema(as = Page, example = json!(1))] struct Sheet;", "Page"),
        ("#[cfg_attr(unix, derive(ToSchema))]\nenum Kind {}", "Kind"),
    ] {
        let found = planted(&[first, ("src/platform/b.rs", text)]);
        let expected = format!("the schema {name} has the same name as the one at src/platform/a.rs:");
        assert!(found.len() == 1 && found[0].starts_with("src/platform/b.rs:") && found[0].contains(&expected), "{text}: {found:?}");
    }
    passes(
        "src/platform/a.rs",
        "#[derive(ToSchema)] struct Page;\n\
         mod b { #[derive(ToSchema)] #[schema(as = Sheet)] struct Page; }\n\
         mod c { #[derive(Debug)] struct Page; }\n\
         #[cfg(test)] mod tests { #[derive(ToSchema)] struct Page; }",
    );
}

#[test]
fn test_name_over_60_characters_is_reported() {
    let (short, long) = ("a".repeat(60), "a".repeat(61));
    let found = |text: &str| long_test_names(&read(&[("tests/it/x.rs", text)]));
    for form in [
        "#[test]\nfn NAME() {}",
        "#[tokio::test(flavor = \"multi_thread\")]\nasync fn NAME() {}",
        "mod tests { #[test]\nfn NAME() {} }",
        "proptest! { #[test]\nfn NAME(x in 0..9) {} }",
        "crate::on_both_backends![x,\nNAME];\nasync fn NAME(b: Backend) {}",
    ] {
        let reported = found(&form.replace("NAME", &long));
        assert!(reported.len() == 1 && reported[0].starts_with("tests/it/x.rs:2:"), "{form}: {reported:?}");
        assert_eq!(found(&form.replace("NAME", &short)), Vec::<String>::new(), "{form}");
    }
    assert_eq!(found(&format!("fn {long}() {{}}\n#[rustfmt::skip]\nfn {long}() {{}}")), Vec::<String>::new());
}
