//! Text normalization for search, order and e-mail addresses, and masking for logs.

use unicode_normalization::UnicodeNormalization;

pub use super::email_address::{fold_email, is_email};

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
    fn mask_email_hides_local_part_and_cut_counts_chars() {
        assert_eq!(mask_email("ada@example.com"), "a***@example.com");
        assert_eq!(mask_email("nonsense"), "***");
        assert_eq!(cut("🚀🚀🚀", 2), "🚀🚀");
    }
}
