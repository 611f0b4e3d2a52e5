//! Settings of storage. Those of one vendor are read in the vendor's own file.

use std::sync::Arc;

use super::VENDORS;
use super::media_type::essence;
use super::provider::StorageProvider;
use crate::platform::config::{Env, List, Section, Value};
use crate::providers::vendor::{self, VendorSettings};

/// Largest upload size that may be configured, in bytes.
const LARGEST: u64 = 100 << 20;

/// A media type, or a whole type: `image/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern(String);

impl TypePattern {
    pub fn fits(&self, content_type: &str) -> bool {
        let essence = essence(content_type);
        match self.0.strip_suffix('*') {
            Some(kind) => essence.starts_with(kind),
            None => essence == self.0,
        }
    }
}

impl Value for TypePattern {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
        let fits = text.split_once('/').is_some_and(|(kind, sub)| part(kind) && (sub == "*" || part(sub)));
        if fits { Ok(Self(text)) } else { Err("media types such as application/pdf or image/*".to_owned()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The settings of storage.
#[derive(Debug, Clone)]
pub struct Config {
    /// The chosen vendor's.
    pub vendor: Arc<dyn VendorSettings<dyn StorageProvider>>,
    /// Empty: any.
    pub allowed_types: Vec<TypePattern>,
    pub max_bytes: u64,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Storage");
        let help = "Storage vendor: `local` (a folder), `s3`, `r2` or `cloudinary`";
        let allowed_types = env
            .var("STORAGE_ALLOWED_TYPES", "Allowed media types of uploads, separated by commas, e.g. `image/*`")
            .shown_default("`any`")
            .optional::<List<TypePattern>>()
            .map(|list| list.0)
            .unwrap_or_default();
        let max_bytes = env.var("STORAGE_MAX_BYTES", "Size limit of an uploaded file in bytes").checked(
            LARGEST,
            |n| (1..=LARGEST).contains(n),
            "from 1 to 104857600",
        );
        let (_, vendor) = vendor::choose(env, "STORAGE_PROVIDER", help, VENDORS);
        Self { vendor, allowed_types, max_bytes }
    }
}

impl Config {
    pub fn allows(&self, content_type: &str) -> bool {
        self.allowed_types.is_empty() || self.allowed_types.iter().any(|pattern| pattern.fits(content_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_pattern_matches_exact_type_or_wildcard() {
        let pattern = |text: &str| TypePattern::parse(text);
        assert!(pattern("image/*").unwrap().fits("image/png") && !pattern("image/*").unwrap().fits("imagery/png"));
        assert!(pattern("Application/PDF").unwrap().fits("application/pdf; charset=x"));
        assert!(!pattern("text/plain").unwrap().fits("text/html"));
        for bad in ["image", "*/*", "/png", "image/", "image/p ng", ""] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
