//! `X-API-Version` and `X-API-Latest-Version` on every response below `/api/v1` and `/api/v2`, and for a deprecated version
//! `Deprecation` (RFC 9745), `Sunset` (RFC 8594), `X-Deprecation-Notice` and a `Link` to its successor.

use chrono::{NaiveDate, NaiveTime};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::platform::http::deprecation::Deprecation;
use crate::platform::http::version::Version;

const VERSION: HeaderName = HeaderName::from_static("x-api-version");
const LATEST_VERSION: HeaderName = HeaderName::from_static("x-api-latest-version");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const NOTICE: HeaderName = HeaderName::from_static("x-deprecation-notice");

const LATEST: HeaderValue = HeaderValue::from_static(Version::LATEST.name());

/// The headers of all versions, made once.
pub struct VersionHeaders(Vec<(Version, Headers)>);

struct Headers {
    version: HeaderValue,
    deprecation: Option<DeprecationHeaders>,
}

struct DeprecationHeaders {
    deprecation: HeaderValue,
    sunset: Option<HeaderValue>,
    notice: HeaderValue,
    /// `None` for the latest version, which has no successor.
    successor: Option<HeaderValue>,
}

impl VersionHeaders {
    /// `today` is the date of the start.
    pub fn new(deprecated: &[Deprecation], today: NaiveDate) -> Self {
        let headers = |version: Version| {
            let deprecation = deprecated.iter().find(|deprecation| deprecation.version == version);
            let deprecation = deprecation.map(|deprecation| DeprecationHeaders::new(deprecation, today));
            (version, Headers { version: HeaderValue::from_static(version.name()), deprecation })
        };
        Self(Version::ALL.into_iter().map(headers).collect())
    }

    /// Sets the headers of a response to a request of this version.
    pub fn set(&self, headers: &mut HeaderMap, version: Version) {
        let Some((_, of_version)) = self.0.iter().find(|(known, _)| *known == version) else { return };
        headers.insert(VERSION, of_version.version.clone());
        headers.insert(LATEST_VERSION, LATEST);
        let Some(deprecation) = &of_version.deprecation else { return };
        headers.insert(DEPRECATION, deprecation.deprecation.clone());
        headers.insert(NOTICE, deprecation.notice.clone());
        if let Some(sunset) = &deprecation.sunset {
            headers.insert(SUNSET, sunset.clone());
        }
        if let Some(successor) = &deprecation.successor {
            // Appended, because a handler may have set links of its own.
            headers.append(header::LINK, successor.clone());
        }
    }
}

impl DeprecationHeaders {
    fn new(deprecation: &Deprecation, today: NaiveDate) -> Self {
        let begins = deprecation.begins(today).and_time(NaiveTime::MIN).and_utc();
        let (name, latest) = (deprecation.version.name(), Version::LATEST.name());
        let mut notice = format!("API {name} is deprecated.");
        if let Some(sunset) = deprecation.sunset {
            notice.push_str(" It will be removed on ");
            notice.push_str(&sunset.to_string());
            notice.push('.');
        }
        let has_successor = deprecation.version != Version::LATEST;
        if has_successor {
            notice.push_str(" Please migrate to ");
            notice.push_str(latest);
            notice.push('.');
        }
        Self {
            deprecation: value(format!("@{}", begins.timestamp())),
            sunset: deprecation.sunset.map(|day| value(day.format("%a, %d %b %Y 00:00:00 GMT").to_string())),
            notice: value(notice),
            successor: has_successor.then(|| value(format!("</api/{latest}/>; rel=\"successor-version\""))),
        }
    }
}

/// Names of versions and dates are always valid in a header.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
