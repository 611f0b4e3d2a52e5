//! Where files are kept, and which ones may be. What belongs to one vendor is read in the vendor's own file.

use crate::platform::config::{Choice, Env, List, Section, Value};

/// The largest file that any vendor is asked to take.
const LARGEST: u64 = 100 << 20;

/// Who keeps them; the first is the default.
#[rustfmt::skip] // A line each, here and below: a vendor goes with its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// A folder of this machine.
    Local,
    S3,
    R2,
    Cloudinary,
}

impl Choice for Vendor {
    #[rustfmt::skip]
    const NAMES: &'static [(&'static str, Self)] = &[
        ("local", Self::Local),
        ("s3", Self::S3),
        ("r2", Self::R2),
        ("cloudinary", Self::Cloudinary),
    ];
}

/// A media type, or all of one kind: `image/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern(String);

impl TypePattern {
    pub fn fits(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
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

/// Everything about storage that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    pub vendor: Vendor,
    /// Empty: any.
    pub allowed_types: Vec<TypePattern>,
    pub max_bytes: u64,
    pub local: super::local::Settings,
    pub s3: super::s3::Settings,
    pub r2: super::r2::Settings,
    pub cloudinary: super::cloudinary::Settings,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Storage");
        let vendor =
            env.var("STORAGE_PROVIDER", "Where files are kept: `local` (a folder), `s3`, `r2` or `cloudinary`").or(Vendor::NAMES[0].1);
        let config = Self {
            vendor,
            allowed_types: env
                .var("STORAGE_ALLOWED_TYPES", "Media types that may be uploaded, separated by commas; `image/*` is all of a kind")
                .shown_default("`any`")
                .optional::<List<TypePattern>>()
                .map(|list| list.0)
                .unwrap_or_default(),
            max_bytes: env.var("STORAGE_MAX_BYTES", "Bytes of the largest file that may be uploaded").checked(
                LARGEST,
                |n| (1..=LARGEST).contains(n),
                "from 1 to 104857600",
            ),
            local: super::local::Settings::read(env),
            s3: super::s3::Settings::read(env),
            r2: super::r2::Settings::read(env),
            cloudinary: super::cloudinary::Settings::read(env),
        };
        config.check(env);
        config
    }
}

impl Config {
    fn check(&self, env: &mut Env) {
        match self.vendor {
            Vendor::Local => super::local::check(env),
            Vendor::S3 => super::s3::check(env),
            Vendor::R2 => super::r2::check(env),
            Vendor::Cloudinary => super::cloudinary::check(env),
        }
    }

    pub fn allows(&self, content_type: &str) -> bool {
        self.allowed_types.is_empty() || self.allowed_types.iter().any(|pattern| pattern.fits(content_type))
    }
}

/// What a vendor behind the S3 API says where this binary has none.
pub fn needs_s3(env: &mut Env, vendor: Vendor) {
    if !cfg!(feature = "s3") {
        let reason = format!("is `{}`, but this binary was built without it", vendor.name());
        env.problem("STORAGE_PROVIDER", reason, "Build it with the cargo feature `s3`, or choose another one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_allowed_one_by_one_or_by_kind() {
        let pattern = |text: &str| TypePattern::parse(text);
        assert!(pattern("image/*").unwrap().fits("image/png") && !pattern("image/*").unwrap().fits("imagery/png"));
        assert!(pattern("Application/PDF").unwrap().fits("application/pdf; charset=x"));
        assert!(!pattern("text/plain").unwrap().fits("text/html"));
        for bad in ["image", "*/*", "/png", "image/", "image/p ng", ""] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
