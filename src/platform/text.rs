//! Text normalization for search, order and e-mail addresses, and masking for logs.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The form by which names are searched and ordered: NFC, lower-cased by the full Unicode rules.
///
/// Lower-cased character by character, and final sigma taken as sigma, so that a piece of a name folds
/// to the same piece of the folded name wherever it stands.
pub fn fold(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).nfc().collect()
}

/// A `LIKE` pattern (with `ESCAPE '\'`) that finds `text` anywhere, with `%`, `_` and `\` taken literally.
pub fn like_contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Normalizes an e-mail address as the database stores it: trimmed, NFC, lower-cased.
pub fn fold_email(address: &str) -> String {
    address.trim().nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// Returns whether the text can be an e-mail address: by the rule of HTML's `<input type=email>`, with letters of all
/// scripts, and a host that has a dot. Wide and other compatibility forms of letters, which look like another address, are
/// rejected.
pub fn is_email(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || (!c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c)));
    let Some((local, host)) = text.split_once('@') else { return false };
    let atom = |atom: &str| !atom.is_empty() && atom.chars().all(|c| letter(c) || "!#$%&'*+/=?^_`{|}~-".contains(c));
    let label = |label: &str| {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        fits && label.chars().all(|c| letter(c) || c == '-')
    };
    local.len() <= 64 && local.split('.').all(atom) && host.contains('.') && host.split('.').all(label) && text.nfkc().eq(text.nfc())
}

/// Returns whether the text is an absolute http or https URL of at most 2048 characters.
pub fn is_web_url(text: &str) -> bool {
    text.chars().count() <= 2048
        && !has_control(text)
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// `a***@example.com`: enough to recognise an address in a log, too little to collect it.
pub fn mask_email(email: &str) -> String {
    match (email.chars().next(), email.rsplit_once('@')) {
        (Some(first), Some((_, host))) => format!("{first}***@{host}"),
        _ => "***".to_owned(),
    }
}

/// Returns whether the text holds a control character (U+0000 among them); identifiers must not.
pub fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// At most `max` Unicode code points of `text`.
pub fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_ignores_case_and_composition() {
        assert_eq!(fold("E\u{301}COLE"), fold("école"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert!(fold("ΑΣΑ").contains(&fold("ΑΣ")));
    }

    #[test]
    fn like_pattern_escapes_wildcards() {
        assert_eq!(like_contains(r"5%_\"), r"%5\%\_\\%");
    }

    #[test]
    fn fold_email_normalizes_case_and_composition() {
        assert_eq!(fold_email(" Ada@Example.COM\n"), "ada@example.com");
        assert_eq!(fold_email("RENE\u{301}@example.com"), fold_email("rené@example.com"));
    }

    #[test]
    fn is_email_accepts_only_valid_addresses() {
        for good in ["ada@example.com", "a.b+c@sub.example.co.uk", "o'neil@example.com", "jürgen@exämple.de", "用户@例子.广告", "a@b.c"]
        {
            assert!(is_email(good), "{good}");
        }
        let (long_local, long_host) = (format!("{}@example.com", "x".repeat(65)), format!("a@{}.com", "x".repeat(64)));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a@b@example.com",
            "ada@example..com",
            ".ada@example.com",
            "ada.@example.com",
            "a..b@example.com",
            "ada@-example.com",
            "ada@example.com.",
            "ada @example.com",
            "ada@exa mple.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "Ada <ada@example.com>",
            "\"ada\"@example.com",
            "ada@example.com,eve@example.com",
            "ada@[127.0.0.1]",
            "ada\0@example.com",
            "ada\u{200b}@example.com",
            "\u{202e}ada@example.com",
            "ａｄａ@example.com",
            "ﬁ@example.com",
            long_local.as_str(),
            long_host.as_str(),
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn mask_email_hides_local_part_and_cut_counts_chars() {
        assert_eq!(mask_email("ada@example.com"), "a***@example.com");
        assert_eq!(mask_email("nonsense"), "***");
        assert_eq!(cut("🚀🚀🚀", 2), "🚀🚀");
    }
}
