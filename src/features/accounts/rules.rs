//! Password rules (NIST SP 800-63B-4 §3.1.1.2): minimum length, and a blocklist of common and obvious passwords.

use passwords::analyzer::is_common_password;
use unicode_normalization::UnicodeNormalization;

use crate::platform::error::{Error, Result};
use crate::platform::text::fold;

/// Length limits in characters, after normalisation.
pub const MIN: usize = 8;
pub const MAX: usize = 128;
/// Maximum length in characters before normalisation. NFC combines only a few characters into one, so longer input is rejected
/// without normalising it.
const LONGEST: usize = MAX * 8;

/// Returns the form that is hashed (NFC), which does not depend on the keyboard or operating system.
pub fn normalise(password: &str) -> String {
    password.nfc().collect()
}

/// Normalises a password for verification; `None` if it is too long for any account.
pub fn attempt(password: &str) -> Option<String> {
    (password.chars().nth(LONGEST).is_none()).then(|| normalise(password))
}

/// Checks the length and the list of common passwords; returns the normalised password. Errors name `field`.
pub fn check(field: &str, password: &str) -> Result<String> {
    let Some(normal) = attempt(password) else { return Err(too_long(field)) };
    match normal.chars().count() {
        n if n < MIN => Err(Error::invalid(field, "too_short", format!("Must have at least {MIN} characters"))),
        n if n > MAX => Err(too_long(field)),
        // The list contains the most common spellings only, so the lower-case form is checked too.
        _ if is_common_password(&normal) || is_common_password(normal.to_lowercase()) => {
            Err(Error::invalid(field, "common", "Is one of the most common passwords; choose another one"))
        }
        _ => Ok(normal),
    }
}

fn too_long(field: &str) -> Error {
    Error::invalid(field, "too_long", format!("Must have at most {MAX} characters"))
}

/// Refuses a password that equals one of `words`, ignoring case: the user's address or the service's name.
pub fn check_against(field: &str, normal: &str, words: &[&str]) -> Result<()> {
    let folded = fold(normal);
    if words.iter().any(|word| fold(word.trim()) == folded) {
        return Err(Error::invalid(field, "obvious", "Must not be your e-mail address or the name of the service"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(password: &str) -> &'static str {
        match check("password", password) {
            Ok(_) => "ok",
            Err(Error::Invalid(errors)) => errors[0].kind,
            Err(_) => "error",
        }
    }

    #[test]
    fn password_length_counts_composed_characters() {
        assert_eq!(kind("x1-Zqäö"), "too_short");
        assert_eq!(kind("x1-Zqäö8"), "ok");
        assert_eq!(kind(&"e\u{301}".repeat(7)), "too_short", "seven letters, however they are written");
        assert_eq!(kind(&"e\u{301}9".repeat(64)), "ok", "128 letters, written as 192");
        assert_eq!(kind(&format!("{}x", "e\u{301}9".repeat(64))), "too_long");
        assert_eq!(kind(&"🚀x".repeat(64)), "ok");
        assert_eq!(kind(&"a".repeat(1_000_000)), "too_long");
        assert_eq!(kind(&"\u{301}".repeat(100_000)), "too_long");
    }

    #[test]
    fn password_common_is_refused_in_any_case() {
        for common in ["password", "Password1", "PASSWORD", "12345678", "iloveyou", "QwertyUiop"] {
            assert_eq!(kind(common), "common", "{common}");
        }
        for fine in ["        ", "correct horse battery staple", "no rules of composition"] {
            assert_eq!(kind(fine), "ok", "{fine}");
        }
    }

    #[test]
    fn password_obvious_is_refused() {
        let refused = |password: &str| check_against("password", &normalise(password), &["ada@example.com", "Acme Übung"]).is_err();
        assert!(refused("ada@example.com") && refused("ADA@Example.com") && refused("acme U\u{308}bung"));
        assert!(!refused("ada@example.org"));
    }

    #[test]
    fn password_is_normalized_to_one_form() {
        assert_eq!(check("password", "A\u{30a}ngstro\u{308}m").unwrap(), normalise("Ångström"));
    }
}
