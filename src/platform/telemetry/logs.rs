//! One line per entry on standard output: JSON in production, readable elsewhere.
//!
//! Values are escaped, so that a client cannot forge a line. A dedicated thread writes the lines, so that a slow reader of
//! the log never blocks a request.

use std::fmt;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::context::JobContext;
use super::{Level, auth_events};
use crate::platform::clock::Clock;
use crate::platform::http::RequestContext;

/// The fields about the process in every line.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub environment: &'static str,
    pub json: bool,
}

/// Starts logging for the whole process. Lines still waiting are written when the guard is dropped.
pub fn init(service: Service, level: Level, debug: bool) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stdout());
    let level = match level {
        _ if debug => tracing::Level::DEBUG,
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warning => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    };
    // Libraries log from WARN on: their lower levels may contain data that must not be logged.
    let filter = Targets::new().with_default(level.min(tracing::Level::WARN)).with_target("omnistack", level);
    // The filter belongs to this layer alone: another one, such as an exporter of spans, filters by rules of its own.
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer).event_format(Lines { service }).with_filter(filter);
    // Fails only where a test has installed a subscriber already.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    guard
}

/// Starts the log of a command on standard error: warnings, and authentication events. Standard output is for the command's
/// own result.
pub fn init_for_command(service: Service) {
    let filter = Targets::new().with_default(tracing::Level::WARN).with_target(auth_events::TARGET, tracing::Level::INFO);
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr).event_format(Lines { service });
    // Fails only where a subscriber is installed already.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

struct Lines {
    service: Service,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(context) = RequestContext::current() {
            fields.rest.entry("request_id").or_insert_with(|| context.request_id.as_str().into());
            if let Some(user) = context.user_id() {
                fields.rest.entry("user_id").or_insert_with(|| user.as_str().into());
            }
        }
        if let Some(job) = JobContext::current() {
            fields.rest.entry("job_id").or_insert_with(|| job.job_id.into());
            fields.rest.entry("function").or_insert_with(|| job.function.into());
            if let Some(request_id) = job.request_id {
                fields.rest.entry("request_id").or_insert_with(|| request_id.into());
            }
        }
        let text = if self.service.json { self.json(event, fields) } else { readable(event, &fields) };
        writeln!(out, "{text}")
    }
}

/// Level names in log lines: `WARN` is written `WARNING`, `TRACE` is written `DEBUG`.
fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARNING",
        tracing::Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

impl Lines {
    fn json(&self, event: &Event<'_>, fields: Fields) -> String {
        let meta = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".into(), json!(Clock::System.now()));
        line.insert("level".into(), level_name(*meta.level()).into());
        line.insert("logger".into(), meta.target().into());
        line.insert("message".into(), fields.message.into());
        line.insert("service".into(), self.service.name.as_str().into());
        line.insert("environment".into(), self.service.environment.into());
        line.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        line.insert("source".into(), json!({"file": meta.file(), "line": meta.line(), "function": meta.module_path()}));
        if let Some(exception) = fields.exception {
            line.insert("exception".into(), exception);
        }
        for (name, value) in fields.rest {
            line.entry(name).or_insert(value);
        }
        escaped_json(Value::Object(line).to_string())
    }
}

fn readable(event: &Event<'_>, fields: &Fields) -> String {
    let meta = event.metadata();
    let mut line = format!("{} {:7} {}", Clock::System.now().format("%H:%M:%S%.3f"), level_name(*meta.level()), escaped(&fields.message));
    for (name, value) in &fields.rest {
        match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) || text.contains(breaks_lines) => {
                let _ = write!(line, " {name}={text:?}");
            }
            Value::String(text) => {
                let _ = write!(line, " {name}={text}");
            }
            value => {
                let _ = write!(line, " {name}={value}");
            }
        }
    }
    if let Some(exception) = &fields.exception {
        let _ = write!(line, " exception={exception}");
    }
    line
}

/// Control characters, and U+2028 and U+2029, which some log viewers treat as line ends.
fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Escapes line breaks and other control characters.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if breaks_lines(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Escapes the line-breaking characters that JSON allows unescaped: those above U+001F. They occur only within strings, where
/// the escape means the same.
fn escaped_json(json: String) -> String {
    if !json.contains(breaks_lines) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if breaks_lines(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// The members of one entry.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
    exception: Option<Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.rest.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, _: &Field, value: &(dyn std::error::Error + 'static)) {
        let causes: Vec<String> = std::iter::successors(value.source(), |error| error.source()).map(ToString::to_string).collect();
        self.exception = Some(json!({"type": "Error", "message": value.to_string(), "traceback": causes}));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::platform::id::UserId;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let service = Service { name: "Test".into(), environment: "local", json };
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()).event_format(Lines { service });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn log_value_with_line_breaks_stays_on_one_line() {
        for json in [true, false] {
            let text =
                logged(json, || tracing::info!(user_agent = "x\r\n{\"level\":\"ERROR\"}\u{2028}\u{85}", path = %"a\nb", "hello\nworld"));
            assert!(!text.trim_end_matches('\n').contains(breaks_lines), "{text}");
        }
    }

    #[tokio::test]
    async fn log_line_in_request_has_request_id_and_cause() {
        let context = RequestContext::unobserved("abc");
        context.set_user_id(&UserId::parse("u1").unwrap());
        let text = context
            .scope(async {
                logged(true, || {
                    let error = anyhow::anyhow!("disk full").context("writing the file");
                    tracing::error!(
                        error = &*Box::<dyn std::error::Error + Send + Sync>::from(error) as &dyn std::error::Error,
                        status = 500,
                        "failed"
                    );
                })
            })
            .await;
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["request_id"].as_str(), line["user_id"].as_str(), line["status"].as_u64()), (Some("abc"), Some("u1"), Some(500)));
        assert_eq!(line["exception"]["message"], "writing the file");
        assert_eq!(line["exception"]["traceback"][0], "disk full");
        assert_eq!(line["service"], "Test");
    }
}
