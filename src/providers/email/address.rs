//! Addresses, names and subjects as they may stand in a header: nothing that comes from outside can begin another one.

use crate::platform::text::has_control;
use crate::providers::ProviderError;
use crate::providers::email::Sender;

/// The longest address that can be delivered to (RFC 5321, 4.5.3.1).
const LONGEST: usize = 254;

/// Whether the text is one address and nothing else. The refusal does not repeat it: it goes to logs.
pub fn check(whose: &str, address: &str) -> Result<(), ProviderError> {
    let plain = |part: &str| !part.is_empty() && !part.contains(['@', ',', ';', ':', '<', '>', '(', ')', '[', ']', '\\', '"']);
    let is_one = address.split_once('@').is_some_and(|(local, host)| plain(local) && plain(host));
    if is_one && address.len() <= LONGEST && !has_control(address) && !address.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(ProviderError::Rejected(format!("the {whose} is not an e-mail address")))
}

/// A subject or a name on one line: each run of line breaks and control characters becomes a space.
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.split(breaks).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `Name <address>`, the name quoted where it holds what has a meaning in a header.
pub fn shown(sender: &Sender) -> String {
    let Sender { name, address } = sender;
    let name = one_line(name);
    if name.is_empty() {
        return address.clone();
    }
    let bare = |c: char| c.is_alphanumeric() || c == ' ' || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if name.chars().all(bare) {
        return format!("{name} <{address}>");
    }
    format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_address_is_an_address() {
        for good in ["ada@example.com", "a.b+c@example.co.uk", "o'neil@example.com", "root@localhost", "jürgen@exämple.de"] {
            assert_eq!(check("recipient", good), Ok(()), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(300));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c",
            "ada@example.com, bob@example.com",
            "ada@example.com,bob",
            "ada@example.com\r\nBcc: x@y",
            "ada @example.com",
            "Ada <ada@example.com>",
            "ada@exam\0ple.com",
            "ada@exam\u{a0}ple.com",
            long.as_str(),
        ] {
            let refused = check("recipient", bad).unwrap_err().to_string();
            assert_eq!(refused, "the recipient is not an e-mail address", "{bad:?}");
        }
    }

    #[test]
    fn names_cannot_begin_another_header() {
        let of = |name: &str| shown(&Sender { name: name.to_owned(), address: "a@b.c".to_owned() });
        assert_eq!(of("My App"), "My App <a@b.c>");
        assert_eq!(of("Büro"), "Büro <a@b.c>");
        assert_eq!(of(""), "a@b.c");
        assert_eq!(of("Bob\r\nBcc: x@y"), "\"Bob Bcc: x@y\" <a@b.c>");
        assert_eq!(of("Doe, \"J\" \\"), r#""Doe, \"J\" \\" <a@b.c>"#);
        assert_eq!(one_line(" a\r\n\r\nb\u{2028}c\td "), "a b c d");
    }
}
