//! E-mail addresses: one rule for what can be registered and what mail can be sent to, and one form in which addresses are
//! stored and compared.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

/// Maximum length of an address and of its local part in bytes (RFC 5321, 4.5.3.1).
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
/// Maximum length of a domain before its conversion. Every domain is shorter in Unicode than in its ASCII form, except for
/// characters that the conversion drops or combines.
const LONGEST_UNICODE: usize = 1024;

/// An address that every mail server can deliver to: the local part is ASCII, the domain is in its IDNA form (`xn--…`,
/// RFC 5890).
///
/// A local part in other letters would need SMTPUTF8 (RFC 6531) on every server on the way. Quoted local parts and address
/// literals are not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress {
    text: String,
    at: usize,
}

impl EmailAddress {
    /// Parses exactly one address. The case of the local part stays; the domain is converted.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let atom = |atom: &str| !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b));
        if local.len() > LONGEST_LOCAL || !local.split('.').all(atom) {
            return None;
        }
        let text = format!("{local}@{}", ascii_domain(domain)?);
        (text.len() <= LONGEST).then_some(Self { text, at: local.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// Whether the domain can exist on the Internet: it has a dot and does not end in a number, as an IPv4 address does.
    pub fn is_public(&self) -> bool {
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        self.domain().rsplit_once('.').is_some_and(|(_, last)| !is_number(last))
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.text
    }
}

/// Returns whether an account can be registered with the address.
pub fn is_email(text: &str) -> bool {
    EmailAddress::parse(text).is_some_and(|address| address.is_public())
}

/// Normalizes an address as the database stores and compares it: trimmed, the local part NFC and lower-cased, the domain in
/// its IDNA form. Accepts any text, because an address to look up is not validated; a domain that has no IDNA form is
/// normalized like the local part.
pub fn fold_email(text: &str) -> String {
    let fold = |text: &str| text.nfc().flat_map(char::to_lowercase).nfc().collect::<String>();
    let text = text.trim();
    match text.rsplit_once('@').and_then(|(local, domain)| Some((local, ascii_domain(domain)?))) {
        Some((local, domain)) => format!("{}@{domain}", fold(local)),
        None => fold(text),
    }
}

/// Returns a normalized address with its domain in Unicode, as earlier versions stored it; `None` if the domain has no other
/// form. Rows are not rewritten, because an earlier version on the same database would no longer find them.
pub fn unicode_email(normal: &str) -> Option<String> {
    let (local, domain) = normal.rsplit_once('@')?;
    if !domain.split('.').any(|label| label.starts_with("xn--")) {
        return None;
    }
    let (domain, valid) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    valid.ok().map(|()| format!("{local}@{domain}"))
}

/// Converts a domain to its IDNA form (UTS #46) and checks it: letters, digits and hyphens, labels of 1 to 63 bytes, at most
/// 253 in all.
fn ascii_domain(domain: &str) -> Option<String> {
    if domain.len() > LONGEST_UNICODE {
        return None;
    }
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    ascii.ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn email_address_accepts_only_deliverable_forms() {
        for (good, written) in [
            ("ada@example.com", "ada@example.com"),
            ("A.b+c@Sub.Example.co.uk", "A.b+c@sub.example.co.uk"),
            ("o'neil@example.com", "o'neil@example.com"),
            ("anna@müller.example", "anna@xn--mller-kva.example"),
            ("anna@MÜLLER.example", "anna@xn--mller-kva.example"),
            ("anna@mu\u{308}ller.example", "anna@xn--mller-kva.example"),
            ("anna@XN--MLLER-KVA.example", "anna@xn--mller-kva.example"),
            ("a@例子.广告", "a@xn--fsqu00a.xn--4rr70v"),
            ("a@例子。广告", "a@xn--fsqu00a.xn--4rr70v"),
            ("root@localhost", "root@localhost"),
            ("a@r3---sn.example", "a@r3---sn.example"),
        ] {
            assert_eq!(EmailAddress::parse(good).map(String::from).as_deref(), Some(written), "{good}");
        }
        let (long_local, long_host) = (format!("{}@example.com", "x".repeat(65)), format!("a@{}.com", "x".repeat(64)));
        let long_unicode = format!("a@{}.example", "ü".repeat(60));
        let long = format!("a@{}.com", ["x".repeat(60).as_str(); 5].join("."));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@example.com",
            "ada@example..com",
            "ada@example.com.",
            ".ada@example.com",
            "ada.@example.com",
            "a..b@example.com",
            "ada@-example.com",
            "ada@exa_mple.com",
            "ada @example.com",
            " ada@example.com",
            "ada@exa mple.com",
            "ada@exam\u{a0}ple.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "Ada <ada@example.com>",
            "\"ada\"@example.com",
            "ada@example.com, eve@example.com",
            "ada@[127.0.0.1]",
            "ada\0@example.com",
            "ada@exam\0ple.com",
            "ada\u{200b}@example.com",
            "\u{202e}ada@example.com",
            "jürgen@example.com",
            "ａｄａ@example.com",
            "ﬁ@example.com",
            "ada@xn--.example",
            "ada@xn--a-\u{fc}.example",
            &long_local,
            &long_host,
            &long_unicode,
            &long,
        ] {
            assert_eq!(EmailAddress::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn registration_needs_public_domain() {
        assert!(is_email("ada@example.com") && is_email("ada@müller.example") && is_email("a@b.c"));
        for bad in ["ada@localhost", "ada@127.0.0.1", "ada@example.5", "jürgen@exämple.de"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn fold_email_maps_spellings_to_one_form() {
        assert_eq!(fold_email(" Ada@Example.COM\n"), "ada@example.com");
        assert_eq!(fold_email("RENE\u{301}@example.com"), fold_email("rené@example.com"));
        for spelling in ["anna@müller.example", "Anna@MU\u{308}LLER.example", "anna@xn--mller-kva.example", "ANNA@XN--MLLER-KVA.EXAMPLE"] {
            assert_eq!(fold_email(spelling), "anna@xn--mller-kva.example", "{spelling}");
        }
        // Not addresses, but what somebody may type at log-in.
        assert_eq!(fold_email("Admin@LocalHost"), "admin@localhost");
        assert_eq!((fold_email("No Address"), fold_email("a@B c")), ("no address".to_owned(), "a@b c".to_owned()));
        assert_eq!(fold_email(&format!("a@{}", "Ü".repeat(100_000))).chars().count(), 100_002);
    }

    #[test]
    fn unicode_email_exists_only_for_international_domains() {
        assert_eq!(unicode_email("anna@xn--mller-kva.example").as_deref(), Some("anna@müller.example"));
        assert_eq!(unicode_email("a@xn--strae-oqa.example").as_deref(), Some("a@straße.example"));
        for none in ["ada@example.com", "nonsense", "xn--mller-kva@example.com", "a@xn--\u{fc}.example"] {
            assert_eq!(unicode_email(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn email_address_normal_form_is_stable(text in "[a-zA-Z0-9.+!]{1,8}@(\\PC{1,6}|[a-zäöüßσς-]{1,8})(\\.|。)(\\PC{1,4}|[a-zéж]{2,6})") {
            let normal = fold_email(&text);
            prop_assert_eq!(fold_email(&normal), normal.clone());
            if let Some(address) = EmailAddress::parse(&text) {
                prop_assert_eq!(address.as_str().to_ascii_lowercase(), normal.clone());
                prop_assert!(address.as_str().is_ascii());
                if let Some(unicode) = unicode_email(&normal) {
                    prop_assert_eq!(fold_email(&unicode), normal);
                }
            }
        }
    }
}
