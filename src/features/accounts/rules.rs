//! Password rules (NIST SP 800-63B-4 §3.1.1.2): length, and a blocklist of common, obvious and guessable passwords.

use passwords::analyzer::is_common_password;
use unicode_normalization::UnicodeNormalization;

use super::config::Settings;
use super::state::State;
use crate::app::App;
use crate::platform::error::{Error, Result};
use crate::platform::text::{cut, fold};

/// Maximum length in characters, after normalisation.
pub const MAX: usize = 128;
/// Maximum length in characters before normalisation. NFC combines only a few characters into one, so longer input is rejected
/// without normalising it.
const LONGEST: usize = MAX * 8;
/// Characters of a name or address that are compared with a password.
const WORD: usize = 255;

/// Normalises a password for verification (NFC, which does not depend on the keyboard or operating system); `None` if it is too
/// long for any account.
pub fn attempt(password: &str) -> Option<String> {
    if password.chars().nth(LONGEST).is_some() {
        return None;
    }
    let normal: String = password.nfc().collect();
    normal.chars().nth(MAX).is_none().then_some(normal)
}

/// Checks a new password; returns it normalised. Errors name `field`.
///
/// `personal` are the words that an attacker who knows the user tries first: their address and name. The service's name is one
/// as well.
pub async fn check(app: &App, field: &str, password: &str, personal: &[&str]) -> Result<String> {
    let normal = check_text(field, password, app.settings::<Settings>().password_min)?;
    let mut words: Vec<&str> = personal.iter().map(|word| cut(word, WORD)).collect();
    words.push(&app.config.core.project_name);
    check_against(field, &normal, &words)?;
    if app.state::<State>().passwords.is_guessable(normal.clone(), with_parts(&words)).await? {
        return Err(Error::invalid(field, "guessable", "Is easy to guess; use a longer one, for example of several unrelated words"));
    }
    Ok(normal)
}

/// Checks the length and the list of common passwords; returns the normalised password.
fn check_text(field: &str, password: &str, min: usize) -> Result<String> {
    let normal = attempt(password).ok_or_else(|| too_long(field))?;
    if normal.chars().count() < min {
        return Err(Error::invalid(field, "too_short", format!("Must have at least {min} characters")));
    }
    // The list contains the most common spellings only, so the lower-case form is checked too.
    if is_common_password(&normal) || is_common_password(normal.to_lowercase()) {
        return Err(Error::invalid(field, "common", "Is one of the most common passwords; choose another one"));
    }
    Ok(normal)
}

pub fn too_long(field: &str) -> Error {
    Error::invalid(field, "too_long", format!("Must have at most {MAX} characters"))
}

/// Refuses a password that equals one of `words`, ignoring case.
fn check_against(field: &str, normal: &str, words: &[&str]) -> Result<()> {
    let folded = fold(normal);
    if words.iter().any(|word| !word.is_empty() && fold(word.trim()) == folded) {
        return Err(Error::invalid(field, "obvious", "Must not be your name, your e-mail address or the name of the service"));
    }
    Ok(())
}

/// The words and their parts: `ada@example.com` is also `ada`, `example` and `com`.
fn with_parts(words: &[&str]) -> Vec<String> {
    let parts = words.iter().flat_map(|word| word.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() > 2));
    words.iter().copied().chain(parts).map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(password: &str) -> &'static str {
        match check_text("password", password, 8) {
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
        for fine in ["correct horse battery staple", "no rules of composition"] {
            assert_eq!(kind(fine), "ok", "{fine}");
        }
    }

    #[test]
    fn password_obvious_is_refused() {
        let refused =
            |password: &str| check_against("password", &attempt(password).unwrap(), &["ada@example.com", "Acme Übung", ""]).is_err();
        assert!(refused("ada@example.com") && refused("ADA@Example.com") && refused("acme U\u{308}bung"));
        assert!(!refused("ada@example.org"));
    }

    #[test]
    fn password_is_normalized_to_one_form() {
        assert_eq!(attempt("A\u{30a}ngstro\u{308}m"), Some("Ångström".to_owned()));
        assert_eq!(attempt(&"x".repeat(MAX + 1)), None);
    }

    #[test]
    fn personal_words_are_split_into_parts() {
        let words = with_parts(&["ada.lovelace@example.com", "Ada Lovelace"]);
        assert!(
            ["ada.lovelace@example.com", "lovelace", "example", "ada lovelace"].iter().all(|word| words.iter().any(|known| known == word))
        );
    }
}
