//! Deprecated versions of the API: which they are, since when, and when they will be removed (`API_DEPRECATED_VERSIONS`,
//! `API_SUNSET_DATES`).

use chrono::NaiveDate;

use super::version::Version;
use crate::platform::config::{Env, List, Value};

/// A deprecated version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deprecation {
    pub version: Version,
    /// `None` means the date of the start.
    pub since: Option<NaiveDate>,
    /// The first day without the version.
    pub sunset: Option<NaiveDate>,
}

impl Deprecation {
    /// The day from which the version is deprecated, for a process that starts on `today`. A version that is deprecated from
    /// the start on and whose sunset is over was deprecated by then: a restart must not move the one behind the other.
    pub fn begins(&self, today: NaiveDate) -> NaiveDate {
        self.since.unwrap_or_else(|| self.sunset.map_or(today, |sunset| today.min(sunset)))
    }
}

/// Reads the deprecated versions.
pub fn read(env: &mut Env) -> Vec<Deprecation> {
    let deprecated = env
        .var("API_DEPRECATED_VERSIONS", "Deprecated API versions, separated by commas: `v1`, since the start, or `v1=2026-12-01`")
        .checked(List(Vec::new()), names_each_once::<SinceDate>, ONCE)
        .0;
    let sunsets = env
        .var("API_SUNSET_DATES", "Days on which deprecated API versions will be removed, e.g. `v1=2027-12-31`")
        .checked(List(Vec::new()), names_each_once::<SunsetDate>, ONCE)
        .0;
    if env.has_problem("API_DEPRECATED_VERSIONS") || env.has_problem("API_SUNSET_DATES") {
        return Vec::new();
    }
    for sunset in &sunsets {
        let name = sunset.version.name();
        match deprecated.iter().find(|deprecated| deprecated.version == sunset.version) {
            None => env.problem(
                "API_SUNSET_DATES",
                format!("has a date for {name}, which is not deprecated"),
                format!("Add {name} to API_DEPRECATED_VERSIONS, or remove its date"),
            ),
            Some(SinceDate { since: Some(since), .. }) if sunset.day < *since => env.problem(
                "API_SUNSET_DATES",
                format!("removes {name} before it is deprecated"),
                "Set a day that is not before the one in API_DEPRECATED_VERSIONS",
            ),
            Some(_) => {}
        }
    }
    if deprecated.iter().any(|deprecated| deprecated.version == Version::LATEST) {
        env.warning(
            "API_DEPRECATED_VERSIONS",
            format!("holds {}, the latest version: its clients are told of no successor", Version::LATEST.name()),
            "Remove it, unless the API itself ends",
        );
    }
    let sunset = |version| sunsets.iter().find(|sunset| sunset.version == version).map(|sunset| sunset.day);
    deprecated.iter().map(|&SinceDate { version, since }| Deprecation { version, since, sunset: sunset(version) }).collect()
}

const ONCE: &str = "a list that names each version once";

/// An entry of `API_DEPRECATED_VERSIONS`.
#[derive(Debug, Clone, Copy)]
struct SinceDate {
    version: Version,
    since: Option<NaiveDate>,
}

/// An entry of `API_SUNSET_DATES`.
#[derive(Debug, Clone, Copy)]
struct SunsetDate {
    version: Version,
    day: NaiveDate,
}

trait Entry {
    fn version(&self) -> Version;
}

impl Entry for SinceDate {
    fn version(&self) -> Version {
        self.version
    }
}

impl Entry for SunsetDate {
    fn version(&self) -> Version {
        self.version
    }
}

fn names_each_once<T: Entry>(list: &List<T>) -> bool {
    list.0.iter().enumerate().all(|(n, entry)| list.0[..n].iter().all(|earlier| earlier.version() != entry.version()))
}

impl Value for SinceDate {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((version, day)) => Ok(Self { version: parse_version(version)?, since: Some(parse_day(day)?) }),
            None => Ok(Self { version: parse_version(text)?, since: None }),
        }
    }

    fn show(&self) -> String {
        match self.since {
            Some(since) => format!("{}={since}", self.version.name()),
            None => self.version.name().to_owned(),
        }
    }
}

impl Value for SunsetDate {
    fn parse(text: &str) -> Result<Self, String> {
        let (version, day) = text.split_once('=').ok_or("a list of versions with a date each, such as v1=2027-12-31")?;
        Ok(Self { version: parse_version(version)?, day: parse_day(day)? })
    }

    fn show(&self) -> String {
        format!("{}={}", self.version.name(), self.day)
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    Version::parse(text.trim()).ok_or_else(|| format!("a list of known versions ({}), such as v1=2026-12-01", Version::names()))
}

/// Reads exactly `YYYY-MM-DD`, as the notice to clients shows it; HTTP dates have no longer years.
fn parse_day(text: &str) -> Result<NaiveDate, String> {
    let text = text.trim();
    let day = text.parse::<NaiveDate>().ok().filter(|day| text.len() == 10 && day.to_string() == text);
    day.ok_or_else(|| "a list of versions whose dates exist and are written as v1=2026-12-01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// The deprecated versions, or the variables and reasons of all problems.
    fn load(deprecated: &str, sunsets: &str) -> Result<Vec<Deprecation>, String> {
        let vars = [("API_DEPRECATED_VERSIONS", deprecated), ("API_SUNSET_DATES", sunsets)];
        let mut env = Env::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let read = read(&mut env);
        let problems = env.finish().problems;
        if problems.is_empty() { Ok(read) } else { Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")) }
    }

    #[test]
    fn deprecated_versions_are_read_with_their_dates() {
        let v1 = |since, sunset| Ok(vec![Deprecation { version: Version::V1, since, sunset }]);
        assert_eq!(load("", ""), Ok(vec![]));
        assert_eq!(load("v1", ""), v1(None, None));
        assert_eq!(load(" V1 = 2026-12-01 ,", ""), v1(Some(day("2026-12-01")), None));
        assert_eq!(load("1.0=2026-12-01", "1=2026-12-01"), v1(Some(day("2026-12-01")), Some(day("2026-12-01"))));
        assert_eq!(load(r#"["v1"]"#, r#"["v1=2020-02-29"]"#), v1(None, Some(day("2020-02-29"))));
        assert_eq!(load("v2,v1=2026-12-01", "").map(|read| read.len()), Ok(2));
    }

    #[test]
    fn deprecation_that_makes_no_sense_is_refused() {
        for (deprecated, sunsets, reason) in [
            ("v3", "", "API_DEPRECATED_VERSIONS: must be a list of known versions (v1, v2)"),
            ("=2026-12-01", "", "API_DEPRECATED_VERSIONS: must be a list of known versions"),
            ("v1=", "", "API_DEPRECATED_VERSIONS: must be a list of versions whose dates exist"),
            ("v1=2026-02-30", "", "whose dates exist"),
            ("v1=2026-2-3", "", "whose dates exist"),
            ("v1=+12026-12-01", "", "whose dates exist"),
            ("v1=01.12.2026", "", "whose dates exist"),
            ("v1=2026-12-01T00:00:00Z", "", "whose dates exist"),
            ("v1=2026-12-01,1=2027-12-01", "", "names each version once"),
            ("v1", "v1", "API_SUNSET_DATES: must be a list of versions with a date each"),
            ("v1", "v9=2027-12-31", "API_SUNSET_DATES: must be a list of known versions"),
            ("v1", "v1=2027-12-31,v1=2028-12-31", "API_SUNSET_DATES: must be a list that names each version once"),
            ("v1=2026-12-01", "v1=2026-11-30", "API_SUNSET_DATES: removes v1 before it is deprecated"),
            ("v1", "v2=2027-12-31", "API_SUNSET_DATES: has a date for v2, which is not deprecated"),
            ("", "v1=2027-12-31", "has a date for v1, which is not deprecated"),
        ] {
            let refused = load(deprecated, sunsets).unwrap_err();
            assert!(refused.contains(reason) && refused.lines().count() == 1, "{deprecated:?} {sunsets:?}: {refused}");
        }
    }

    #[test]
    fn deprecation_since_the_start_is_never_after_the_sunset() {
        let [early, late] = ["2026-12-01", "2027-12-31"].map(day);
        let since = |since, sunset, today| Deprecation { version: Version::V1, since, sunset }.begins(today);
        assert_eq!(since(None, None, late), late);
        assert_eq!(since(None, Some(late), early), early);
        assert_eq!(since(None, Some(early), late), early);
        assert_eq!(since(Some(late), None, early), late);
    }
}
