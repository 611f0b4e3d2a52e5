//! Mail templates, embedded in the binary. Debug builds read them from disk at each use, so that changes apply at once.

use chrono::{DateTime, Datelike, Utc};
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value};
use rust_embed::RustEmbed;
use serde_json::{Map, json};
use url::Url;

use crate::platform::text::has_control;
use crate::providers::ProviderError;

/// Each extends `frame.html`.
#[derive(RustEmbed)]
#[folder = "src/providers/email/templates/"]
struct Files;

/// Internal templates: the frame, and the one for plain text.
const OWN: [&str; 2] = ["frame", PLAIN];
const PLAIN: &str = "plain";

/// Variables of every template.
pub struct Common<'c> {
    pub app_name: &'c str,
    pub subject: &'c str,
    pub now: DateTime<Utc>,
}

/// Renders a named template to HTML. Missing variables are empty; `data` overrides the common variables.
pub fn render(name: &str, data: Map<String, serde_json::Value>, common: &Common) -> Result<String, ProviderError> {
    let unknown = || ProviderError::Rejected(format!("there is no template of this name; those there are: {}", names().join(", ")));
    if !names().iter().any(|known| known == name) {
        return Err(unknown());
    }
    rendered(name, data, common)
}

/// Renders plain text to HTML: its lines and paragraphs in the frame.
pub fn render_plain(text: &str, common: &Common) -> Result<String, ProviderError> {
    let text = text.replace("\r\n", "\n");
    let paragraphs: Vec<Vec<&str>> = text
        .split("\n\n")
        .map(|paragraph| paragraph.trim_matches('\n'))
        .filter(|paragraph| !paragraph.is_empty())
        .map(|paragraph| paragraph.split('\n').collect())
        .collect();
    rendered(PLAIN, Map::from_iter([("paragraphs".to_owned(), json!(paragraphs))]), common)
}

/// Names of the templates that a mail can use.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = Files::iter().filter_map(|file| file.strip_suffix(".html").map(str::to_owned)).collect();
    names.retain(|name| !OWN.contains(&name.as_str()));
    names.sort();
    names
}

fn rendered(name: &str, data: Map<String, serde_json::Value>, common: &Common) -> Result<String, ProviderError> {
    let mut variables = Map::from_iter([
        ("subject".to_owned(), json!(common.subject)),
        ("app_name".to_owned(), json!(common.app_name)),
        ("year".to_owned(), json!(common.now.year())),
        ("unsubscribe_url".to_owned(), json!("#")),
        ("privacy_url".to_owned(), json!("#")),
    ]);
    // Null counts as absent.
    variables.extend(data.into_iter().filter(|(_, value)| !value.is_null()));
    let mut environment = Environment::new();
    environment.set_loader(|file| match Files::get(file) {
        Some(found) => String::from_utf8(found.data.into_owned()).map(Some).map_err(|_| ErrorKind::InvalidOperation.into()),
        None => Ok(None),
    });
    environment.add_filter("link", |value: &Value| link(value.as_str().unwrap_or_default()));
    let html = environment.get_template(&format!("{name}.html")).and_then(|template| template.render(Serde(&variables)));
    // The error's message could repeat the data.
    html.map_err(|error| ProviderError::Rejected(format!("the template {name} cannot be filled in: {}", error.kind())))
}

/// Returns the URL if its scheme is allowed in mails, otherwise `#`. Rejects control characters, because browsers drop them
/// from URLs.
fn link(address: &str) -> String {
    let address = address.trim_matches(' ');
    let leads_there = |url: &Url| matches!(url.scheme(), "http" | "https" | "mailto");
    if has_control(address) || !Url::parse(address).as_ref().is_ok_and(leads_there) {
        return "#".to_owned();
    }
    address.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(name: &str, data: serde_json::Value) -> String {
        let serde_json::Value::Object(data) = data else { panic!("an object") };
        let now = DateTime::parse_from_rfc3339("2031-05-06T00:00:00Z").unwrap().to_utc();
        render(name, data, &Common { app_name: "Acme & Co", subject: "Hi", now }).unwrap()
    }

    #[test]
    fn template_values_are_html_escaped() {
        let page = html("welcome", json!({"name": "<script>alert(1)</script>\" 'x'", "verify_url": "https://a.example/?a=1&b=\"><i>"}));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("<i>"), "{page}");
        assert!(page.contains("Acme &amp; Co") && page.contains("&copy; 2031"), "{page}");
        assert!(page.contains("?a=1&amp;b=&quot;&gt;&lt;i&gt;\""), "{page}");
    }

    #[test]
    fn template_missing_value_omits_its_block() {
        for data in [json!({}), json!({"name": null, "verify_url": null})] {
            let page = html("welcome", data);
            assert!(page.contains("Welcome!") && !page.contains("Verify") && !page.contains("none"), "{page}");
        }
        let page = html("notification", json!({"title": "News", "message": "It rains"}));
        assert!(page.contains("Hello,") && !page.contains("background-color:#2563eb"), "{page}");
        let page = html("notification", json!({"title": "News", "message": "It rains", "action_url": "https://a.example"}));
        assert!(page.contains(">Open</a>"), "{page}");
        let hours = |n: serde_json::Value| html("password_reset", json!({"reset_url": "https://a.example", "expires_in_hours": n}));
        assert!(hours(json!(1)).contains("for 1 hour.") && hours(json!("2")).contains("for 2 hours."));
        assert!(!html("password_reset", json!({"reset_url": "https://a.example"})).contains("valid for"));
    }

    #[test]
    fn template_link_accepts_only_safe_urls() {
        for good in ["https://a.example/x?y=1#z", "http://localhost:3000", "mailto:ada@example.com", " https://a.example "] {
            assert_eq!(link(good), good.trim());
        }
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "\u{1}javascript:alert(1)",
            "https://a.example\n",
            "java&#10;script:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "//a.example",
            "/path",
            "#",
            "",
            "https://",
        ] {
            assert_eq!(link(bad), "#", "{bad:?}");
        }
    }

    #[test]
    fn templates_filter_every_link() {
        for file in Files::iter() {
            let text = String::from_utf8(Files::get(&file).unwrap().data.into_owned()).unwrap();
            let lower = text.to_lowercase();
            for (at, _) in lower.match_indices("href") {
                let value = lower[at..].strip_prefix("href=\"{{ ").and_then(|rest| rest.split_once(" }}\"")).map(|(value, _)| value);
                assert!(value.is_some_and(|value| value.ends_with("|link")), "{file}: {}", &text[at..]);
            }
            assert!(!lower.contains("safe") && !lower.contains("autoescape") && !lower.contains("src="), "{file}");
        }
    }

    #[test]
    fn render_unknown_template_is_rejected() {
        assert_eq!(
            names(),
            ["email_taken", "failed_logins", "notification", "password_changed", "password_reset", "verify_email", "welcome"]
        );
        let common = Common { app_name: "x", subject: "x", now: DateTime::UNIX_EPOCH };
        for name in ["frame", "plain", "", "../mod", "welcome.html", "Welcome", "nothing"] {
            assert!(matches!(render(name, Map::new(), &common), Err(ProviderError::Rejected(_))), "{name}");
        }
    }

    #[test]
    fn render_plain_keeps_lines_and_paragraphs() {
        let common = Common { app_name: "x", subject: "x", now: DateTime::UNIX_EPOCH };
        let page = render_plain("one <b>\r\ntwo\n\n\n\nthree", &common).unwrap();
        assert!(page.contains("one &lt;b&gt;<br>two</p>") && page.contains(">three</p>"), "{page}");
    }
}
