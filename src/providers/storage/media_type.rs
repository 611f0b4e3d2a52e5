//! Comparison of media types (RFC 9110 §8.3.1).

/// Returns the type and subtype without parameters, in lower case: `Text/CSV; charset=UTF-8` is `text/csv`.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns whether two media types are the same, without regard to case and parameters.
pub fn is_same(one: &str, other: &str) -> bool {
    essence(one) == essence(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_compares_without_case_and_parameters() {
        for same in ["text/csv", "Text/CSV", "text/csv;charset=utf-8", "TEXT/csv ; header=present; charset=\"UTF-8\"", " text/csv "] {
            assert!(is_same("text/csv", same), "{same}");
        }
        for other in ["text/plain", "text/csv2", "text", "", ";text/csv"] {
            assert!(!is_same("text/csv", other), "{other}");
        }
    }
}
