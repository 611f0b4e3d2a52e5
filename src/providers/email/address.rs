//! Validation of addresses, names and subjects; prevents header injection.

use crate::platform::email_address::EmailAddress;
use crate::platform::text::{cut, mask_email};
use crate::providers::ProviderError;
use crate::providers::email::message::Sender;

/// Maximum length of a quoted vendor message, in characters.
const MAX_WORDS: usize = 200;

/// Checks that the text is exactly one address. The error does not repeat it, because errors are logged.
pub fn check(whose: &str, address: &str) -> Result<(), ProviderError> {
    match EmailAddress::parse(address) {
        Some(_) => Ok(()),
        None => Err(ProviderError::Rejected(format!("the {whose} is not an e-mail address"))),
    }
}

/// The address as it is sent: its domain in the IDNA form. A text that is no address stays, and [`check`] refuses it.
pub fn sendable(address: String) -> String {
    EmailAddress::parse(&address).map_or(address, String::from)
}

/// A subject or a name on one line: each run of line breaks and control characters becomes a space.
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.split(breaks).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns a vendor's message for logs: truncated, on one line, with every address masked.
pub fn told(words: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "<>()[],;:\"`".contains(c);
    let mut told = String::new();
    for piece in one_line(words).split_inclusive(ends) {
        let word = piece.trim_end_matches(ends);
        if word.contains('@') {
            told.push_str(&mask_email(word));
            told.push_str(&piece[word.len()..]);
        } else {
            told.push_str(piece);
        }
    }
    cut(&told, MAX_WORDS).to_owned()
}

/// `Name <address>`; the name is quoted if it contains special characters.
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
    fn address_check_accepts_one_plain_address() {
        for good in ["ada@example.com", "root@localhost", "anna@müller.example"] {
            assert_eq!(check("recipient", good), Ok(()), "{good}");
        }
        for bad in ["", "ada", "ada@example.com,bob", "ada@example.com\r\nBcc: x@y", "Ada <ada@example.com>", "jürgen@example.com"] {
            let refused = check("recipient", bad).unwrap_err().to_string();
            assert_eq!(refused, "the recipient is not an e-mail address", "{bad:?}");
        }
    }

    #[test]
    fn vendor_message_is_masked_and_truncated() {
        assert_eq!(told("no\r\nX: y\u{7}"), "no X: y");
        assert_eq!(told("550 <ada@example.com>: no such user (eve@b.example)."), "550 <a***@example.com>: no such user (e***@b.example).");
        assert_eq!(told("to:ada@example.com,bob@example.com"), "to:a***@example.com,b***@example.com");
        assert_eq!(told(&"é".repeat(900)).chars().count(), 200);
        // Masked before truncation, because part of an address is personal data too.
        assert!(!told(&format!("{} ada.lovelace@example.com", "x".repeat(190))).contains("ada"));
    }

    #[test]
    fn sender_name_with_line_breaks_stays_in_one_header() {
        let of = |name: &str| shown(&Sender { name: name.to_owned(), address: "a@b.c".to_owned() });
        assert_eq!(of("My App"), "My App <a@b.c>");
        assert_eq!(of("Büro"), "Büro <a@b.c>");
        assert_eq!(of(""), "a@b.c");
        assert_eq!(of("Bob\r\nBcc: x@y"), "\"Bob Bcc: x@y\" <a@b.c>");
        assert_eq!(of("Doe, \"J\" \\"), r#""Doe, \"J\" \\" <a@b.c>"#);
        assert_eq!(one_line(" a\r\n\r\nb\u{2028}c\td "), "a b c d");
    }
}
