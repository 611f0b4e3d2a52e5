//! The versions of the API. A version is the segment of the path after `/api/`, and nothing else decides it: every route has
//! one, so a version named in a request header would change nothing and is ignored.

use serde::{Serialize, Serializer};

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    /// Every version, the oldest first.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The version that clients should use.
    pub const LATEST: Self = Self::V2;

    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// Reads a version as people write it: `v1`, `1` or `1.0`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "v1" | "1" | "1.0" => Some(Self::V1),
            "v2" | "2" | "2.0" => Some(Self::V2),
            _ => None,
        }
    }

    /// The version of a request's path: only the whole segment right after `/api/` counts, exactly as routes spell it.
    pub fn of_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/api/")?;
        let segment = rest.split_once('/').map_or(rest, |(segment, _)| segment);
        Self::ALL.into_iter().find(|version| version.name() == segment)
    }

    /// The names of all versions, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_only_the_segment_after_api() {
        for (path, version) in [
            ("/api/v1", Some(Version::V1)),
            ("/api/v1/", Some(Version::V1)),
            ("/api/v1/app/a/b", Some(Version::V1)),
            ("/api/v2/nothing", Some(Version::V2)),
            ("/api/v1/public/v2", Some(Version::V1)),
            ("/api/v1x/app", None),
            ("/api/v1.0/app", None),
            ("/api/V1/app", None),
            ("/api/v3/v1", None),
            ("/api//v1", None),
            ("//api/v1", None),
            ("/v1", None),
            ("/docs", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(Version::of_path(path), version, "{path}");
        }
    }

    #[test]
    fn version_parse_accepts_every_spelling_of_a_name() {
        assert!(["v1", "V1", "1", "1.0"].iter().all(|text| Version::parse(text) == Some(Version::V1)));
        assert!(["v2", "V2", "2", "2.0"].iter().all(|text| Version::parse(text) == Some(Version::V2)));
        assert!(["", "v", "v3", "1.1", "v1.0", " v1"].iter().all(|text| Version::parse(text).is_none()));
        assert!(Version::ALL.iter().all(|version| Version::parse(version.name()) == Some(*version)));
        assert_eq!(Version::ALL.iter().max(), Some(&Version::LATEST));
    }
}
