//! The outermost layer: names the request, finds its route record and its client's address, and afterwards
//! counts it, times it and writes its line in the log.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use ipnet::IpNet;
use prometheus::IntGauge;
use uuid::Uuid;

use crate::platform::http::Route;
use crate::platform::telemetry::context::RequestContext;
use crate::platform::telemetry::metrics::METRICS;
use crate::platform::telemetry::millis;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that the request came from, as far as it can be believed.
#[derive(Debug, Clone, Copy)]
pub struct ClientIp(pub IpAddr);

/// All route records by template, and whose `X-Forwarded-For` is believed.
pub struct Observer {
    pub routes: HashMap<String, Arc<Route>>,
    pub trusted_proxies: Vec<IpNet>,
}

pub async fn observe(State(observer): State<Arc<Observer>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext::new(request_id(request.headers()));
    let client_ip = observer.client_ip(&request);
    request.extensions_mut().insert(ClientIp(client_ip));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().and_then(|path| observer.routes.get(path.as_str())).cloned();
    let endpoint = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let observed = route.as_ref().is_none_or(|route| route.options.observed);
    if let Some(route) = &route {
        request.extensions_mut().insert(route.clone());
    }
    let method = standard_name(request.method());
    let _in_progress = observed.then(|| InProgress::enter(method, endpoint));
    let line = observed.then(|| Line::of(&request, endpoint, client_ip));

    let mut response = context
        .clone()
        .scope(async {
            if let Some(line) = &line {
                line.start();
            }
            next.run(request).await
        })
        .await;

    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if let Some(line) = line {
        let (status, took) = (response.status(), started.elapsed());
        METRICS.http_requests.with_label_values(&[method, endpoint, status.as_str()]).inc();
        METRICS.http_duration.with_label_values(&[method, endpoint]).observe(took.as_secs_f64());
        context.scope(async { line.write(status, millis(took)) }).await;
    }
    response
}

/// The caller's id if it is a sane one, else a fresh UUID.
fn request_id(headers: &HeaderMap) -> String {
    let sane =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    match headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane) {
        Some(id) => id.to_owned(),
        None => Uuid::now_v7().to_string(),
    }
}

impl Observer {
    /// The peer; behind trusted proxies the right-most forwarded address that is not one of them.
    fn client_ip(&self, request: &Request) -> IpAddr {
        let peer =
            request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip().to_canonical());
        let trusted = |address: &IpAddr| self.trusted_proxies.iter().any(|network| network.contains(address));
        if !trusted(&peer) {
            return peer;
        }
        let forwarded: Vec<&str> = request
            .headers()
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        // Something unreadable ends the walk: whatever stands left of it is anybody's word.
        let addresses = forwarded.iter().rev().map_while(|text| address(text.trim()));
        let mut nearest = peer;
        for address in addresses {
            nearest = address;
            if !trusted(&address) {
                break;
            }
        }
        nearest
    }
}

/// An address with or without a port or brackets, as proxies write them.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    plain.or_else(|_| text.trim_matches(['[', ']']).parse()).ok().map(|address: IpAddr| address.to_canonical())
}

fn standard_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Counts a request as being answered for as long as it lives, also when its client goes away.
struct InProgress(IntGauge);

impl InProgress {
    fn enter(method: &str, endpoint: &str) -> Self {
        let gauge = METRICS.http_in_progress.with_label_values(&[method, endpoint]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the request's line in the log needs, kept only if the line may be written at all.
struct Line(Option<Box<Parts>>);

struct Parts {
    method: Method,
    path: String,
    client_ip: IpAddr,
    user_agent: String,
}

impl Line {
    fn of(request: &Request, endpoint: &str, client_ip: IpAddr) -> Self {
        if !tracing::enabled!(tracing::Level::WARN) {
            return Self(None);
        }
        // A path with a token in it is a secret.
        let path = if endpoint.contains("{token}") { endpoint } else { request.uri().path() };
        let user_agent = request.headers().get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self(Some(Box::new(Parts {
            method: request.method().clone(),
            path: path.to_owned(),
            client_ip,
            user_agent: user_agent.unwrap_or_default(),
        })))
    }

    fn start(&self) {
        if let Some(parts) = &self.0 {
            tracing::debug!(method = %parts.method, path = parts.path, "request started");
        }
    }

    fn write(self, status: StatusCode, duration_ms: f64) {
        let Some(parts) = self.0 else { return };
        let Parts { method, path, client_ip, user_agent } = *parts;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(%method, path, status_code = status.as_u16(), duration_ms, %client_ip, user_agent, "request completed")
            };
        }
        if status.is_server_error() {
            line!(error);
        } else if status.is_client_error() {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn seen_from(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let observer = Observer { routes: HashMap::new(), trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect() };
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header(X_FORWARDED_FOR, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        observer.client_ip(&request).to_string()
    }

    #[test]
    fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
        assert_eq!(seen_from("9.9.9.9", &["10.0.0.0/8"], &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &[]), "10.0.0.1");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6", "1.2.3.4:5555"]), "1.2.3.4");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6, junk, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen_from("10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(seen_from("::ffff:10.0.0.1", &["10.0.0.0/8"], &["1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn only_sane_request_ids_are_kept() {
        let id = |value: &str| request_id(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(value).unwrap())]));
        assert_eq!(id("A.b_C-9"), "A.b_C-9");
        for junk in ["", "a b", "<script>", "a,b"] {
            assert_ne!(id(junk), junk);
        }
        assert_ne!(id(&"x".repeat(129)), "x".repeat(129));
    }
}
