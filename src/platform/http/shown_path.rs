//! Request paths as logs and traces show them, without private parameters.

use http::Uri;
use percent_encoding::percent_decode_str;

use super::endpoints::Route;

/// Maximum length of a path segment of an unknown route. Longer than an id, shorter than a signed token.
const LONGEST: usize = 48;
/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// The path of a request, for logs.
pub enum ShownPath {
    /// The path, of a route without private parameters, in the bytes of the request.
    Path(Uri),
    /// The route's template, or what may be shown of an unknown path.
    Text(String),
}

impl ShownPath {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(uri) => uri.path(),
            Self::Text(text) => text,
        }
    }
}

/// The segments after which routes have private parameters: `open` of `/links/open/{token}`.
///
/// A path that matches no route may still hold a private parameter: with a slash behind it, below a wrong prefix, or with
/// an encoded separator. So nothing behind one of these segments is shown, wherever it stands.
#[derive(Default)]
pub struct PrivateSegments(Vec<String>);

impl PrivateSegments {
    pub fn of<'r>(routes: impl IntoIterator<Item = &'r Route>) -> Self {
        let routes = routes.into_iter().filter(|route| !route.policy.private.is_empty());
        let before = routes.filter_map(|route| {
            let is_private = |segment: &str| route.policy.private.iter().any(|name| parameter(segment) == Some(*name));
            let (before, _) = split_at(&route.template, is_private)?;
            before.rsplit('/').find(|segment| !segment.is_empty() && parameter(segment).is_none())
        });
        Self(before.map(str::to_lowercase).collect())
    }

    /// What may be shown of a path that matches no route.
    pub fn shown(&self, path: &str) -> String {
        let decoded = decode(path);
        let is_private = |segment: &str| {
            let segment = segment.to_lowercase();
            self.0.iter().any(|private| segment.starts_with(private.as_str()))
        };
        if let Some((before, segment)) = split_at(&decoded, is_private) {
            let segment = segment.to_lowercase();
            let word = self.0.iter().find(|private| segment.starts_with(private.as_str())).map_or("", String::as_str);
            return format!("{before}{word}/{HIDDEN}");
        }
        let short = |segment| if str::len(segment) > LONGEST { HIDDEN } else { segment };
        path.split('/').map(short).collect::<Vec<_>>().join("/")
    }
}

/// The text before the first such segment, and the segment.
fn split_at(path: &str, wanted: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let mut start = 0;
    for segment in path.split('/') {
        if wanted(segment) {
            return Some((&path[..start], segment));
        }
        start += segment.len() + 1;
    }
    None
}

/// The name of a template's parameter.
fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_prefix('*').unwrap_or(name))
}

/// Decodes until nothing is encoded, at most three times.
fn decode(path: &str) -> String {
    let mut text = path.to_owned();
    for _ in 0..3 {
        if !text.contains('%') {
            break;
        }
        text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::http::Policy;

    const TOKEN: &str = "eyJrIjoiYSJ9.c2VjcmV0";

    fn private() -> PrivateSegments {
        let route = |template: &str, private| Route {
            feature: "links",
            template: template.to_owned(),
            methods: Vec::new(),
            policy: Policy::signed_link(private),
            documented: true,
        };
        let routes = [
            route("/api/v1/public/links/open/{token}", &["token"]),
            route("/api/v1/public/share/{id}/{*key}", &["key"]),
            route("/api/v1/public/list/{id}", &[]),
        ];
        PrivateSegments::of(&routes)
    }

    #[test]
    fn unknown_path_hides_private_parameters_and_long_segments() {
        let shown = |path: &str| private().shown(path);
        let open = "/api/v1/public/links/open";
        for behind in ["/", "//x", "/x/y", "%2Fx", "/..", "%252e"] {
            assert_eq!(shown(&format!("{open}/{TOKEN}{behind}")), format!("{open}/…"), "{behind}");
        }
        assert_eq!(shown(&format!("//api//v1/public/links/Open//{TOKEN}")), "//api//v1/public/links/open/…");
        assert_eq!(shown(&format!("/proxy{open}%2f{TOKEN}")), format!("/proxy{open}/…"));
        assert_eq!(shown(&format!("/links/%256fpen/{TOKEN}")), "/links/open/…");
        assert_eq!(shown(&format!("/api/v1/public/share/7/{TOKEN}/")), "/api/v1/public/share/…");
        assert_eq!(shown(&format!("/elsewhere/{}", "x".repeat(49))), "/elsewhere/…");
        for path in ["/", "/api/v1/nowhere", "/api/v1/public/list/7/x", "/a%20b/0199e3c0-5a66-7d22-a2b5-3e1b3f6f8a11"] {
            assert_eq!(shown(path), path);
        }
    }
}
