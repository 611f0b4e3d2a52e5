//! Strength of a password: the number of guesses that an attacker who tries the likely ones first needs (zxcvbn).

use zxcvbn::zxcvbn;

/// Minimum number of guesses.
const GUESSES: u64 = 1_000_000;
/// Characters that are estimated at once. The time grows with the square of the length, and with spellings such as `p4$$w0rd`;
/// beyond 28 characters the crate's arithmetic overflows.
const PART: usize = 24;

/// Returns whether a guesser who knows `words` (the user's address and name, the service's name) needs fewer than 10^6
/// guesses. A password is as hard as its hardest part. May take tens of milliseconds.
pub(super) fn is_guessable(password: &str, words: &[String]) -> bool {
    let (words, characters): (Vec<&str>, Vec<char>) = (words.iter().map(String::as_str).collect(), password.chars().collect());
    !characters.chunks(PART).any(|part| zxcvbn(&part.iter().collect::<String>(), &words).guesses() >= GUESSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessable(password: &str) -> bool {
        let words = ["ada@example.com", "ada", "example", "ada lovelace", "lovelace", "acme"].map(str::to_owned);
        is_guessable(password, &words)
    }

    #[test]
    fn password_likely_is_guessable() {
        for weak in ["Password123!", "Summer2025", "qwertyuiop123", "P@ssw0rd2024", "abcdefgh1234", "lovelace2025", "acmeacme", ""] {
            assert!(guessable(weak), "{weak}");
        }
        for strong in ["a long and unusual one", "correct horse battery staple", "kj4xw7qp2m9t", "x1-Zqäö8"] {
            assert!(!guessable(strong), "{strong}");
        }
    }

    #[test]
    fn password_with_one_strong_part_is_accepted() {
        assert!(guessable(&"password".repeat(16)));
        assert!(!guessable(&format!("{}kj4xw7qp2m9t", "password".repeat(3))));
    }

    #[test]
    fn password_of_any_shape_is_estimated_without_overflow() {
        for unit in [
            "14",
            "1234567890",
            "qazwsxedcrfvtgbyhnujmikolp",
            "QaZwSxEdCrFvTgBy",
            "4@8({[<3694!1|i0$5+7%2",
            "12/12/1999",
            "\u{301}",
            "🚀",
            "20252025",
        ] {
            for length in [1, 8, PART - 1, PART, PART + 1, 128] {
                is_guessable(&unit.chars().cycle().take(length).collect::<String>(), &[unit.to_owned()]);
            }
        }
    }
}
