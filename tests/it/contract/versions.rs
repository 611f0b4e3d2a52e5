//! Versions of the API: which responses name them, what decides a request's version, and what clients of a deprecated version
//! are told.

use axum::response::IntoResponse;
use axum::routing::get;
use http::{Method, header};
use omnistack::app::App;
use omnistack::app::feature::Feature;
use omnistack::platform::http::{Endpoints, Policy};
use serde_json::json;

use crate::harness::process::Place;
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![every_answer_below_a_version_names_it, deprecated_version_is_announced_with_every_answer,];
crate::on_sqlite![
    answer_outside_of_a_version_names_none,
    version_in_a_request_header_is_ignored,
    nothing_is_deprecated_by_default,
    deprecation_since_the_start_has_its_date,
    deprecation_of_the_latest_version_names_no_successor,
    deprecation_keeps_the_links_of_a_handler,
];

const FRONT_END: &str = "http://localhost:3000";
const NOT_DEPRECATED: [Vec<&str>; 4] = [const { Vec::new() }; 4];

/// A feature whose handlers set links, panic, or have a version in their path.
struct Odd;

impl Feature<App> for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn endpoints(&self) -> Endpoints<App> {
        let linked = || async { ([(header::LINK, "</next>; rel=\"next\"")], "linked").into_response() };
        Endpoints::new()
            .page(Policy::public(), "/api/v1/public/linked", [Method::GET], get(linked))
            .page(Policy::public(), "/api/v1/public/panic", [Method::GET], get(|| async { panic!("odd") as &str }))
            .page(Policy::public(), "/api/v1/public/v2", [Method::GET], get(|| async { "here" }))
            .page(Policy::page(), "/api/pages/v1", [Method::GET], get(|| async { "here" }))
    }
}

#[track_caller]
fn names(reply: &Reply, version: &str, what: &str) {
    let both: Vec<Vec<_>> = ["x-api-version", "x-api-latest-version"].iter().map(|name| all(reply, name)).collect();
    assert_eq!(both, [[version], ["v2"]], "{what}: {}", reply.status);
}

fn all<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// The headers of a deprecated version.
fn deprecation(reply: &Reply) -> [Vec<&str>; 4] {
    ["deprecation", "sunset", "x-deprecation-notice", "link"].map(|name| all(reply, name))
}

async fn every_answer_below_a_version_names_it(b: Backend) {
    let t = TestApp::with_feature(b, &Odd, &[("MAX_BODY_BYTES", "1000")]).await;
    let (amy, off) = (t.user("amy").await, t.user("off").await);
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'off'").await;
    t.forget_identity("off");
    for version in ["v1", "v2"] {
        let at = |path: &str| format!("//api/{version}{path}");
        let me = at("/app/users/me");
        for (status, reply) in [
            (200, amy.get(&me).await),
            (200, amy.call(Method::HEAD, &me).await),
            (200, amy.patch(&me, json!({})).await),
            (401, t.anonymous().get(&me).await),
            (403, off.get(&me).await),
            (404, amy.get(&at("/nothing")).await),
            (404, amy.get(&at("")).await),
            (405, amy.delete(&me).await),
            (405, amy.call(Method::OPTIONS, &me).await),
            (413, amy.patch(&me, json!({"full_name": "x".repeat(1000)})).await),
            (415, amy.call(Method::PATCH, &me).body("text/plain", "x").await),
            (422, amy.patch(&me, json!({"full_name": 5})).await),
            (400, amy.call(Method::PATCH, &me).body("application/json", "{").await),
            (200, t.anonymous().get(&at("/openapi.json")).await),
        ] {
            assert_eq!(reply.status, status, "{version}: {}", reply.text());
            names(&reply, version, "an answer");
        }
        for path in [&me, &at("/nothing")] {
            let preflight = t.anonymous().call(Method::OPTIONS, path).header("origin", FRONT_END);
            let preflight = preflight.header("access-control-request-method", "PATCH").await;
            assert_eq!(preflight.status, 204);
            names(&preflight, version, "a preflight");
        }
    }
    let panicked = t.anonymous().get("/public/panic").await;
    names(&panicked, "v1", "a panic");
    panicked.expect_error(500, "INTERNAL_ERROR");
    // A later segment of the path is no version.
    names(&t.anonymous().get("/public/v2").await, "v1", "a path with two versions");
    names(&t.anonymous().get("//api/v1/v2").await, "v1", "an unknown path with two versions");

    let limited = TestApp::with(b, &[("RATE_LIMIT_DEFAULT", "1/day")]).await;
    let amy = limited.user("amy").await;
    for version in ["v1", "v2"] {
        let refused = amy.get(&format!("//api/{version}/app/users/me")).await;
        names(&refused, version, "a refusal by the rate limit");
        refused.expect_error(429, "RATE_LIMIT_EXCEEDED");
    }
}

async fn answer_outside_of_a_version_names_none(b: Backend) {
    let t = TestApp::with_feature(b, &Odd, &[("API_DEPRECATED_VERSIONS", "v1,v2"), ("API_V1_STR", "/described")]).await;
    for path in
        ["", "docs", "redoc", "openapi.json", "described/openapi.json", "api", "api/", "api/v3/app/users/me", "api/v1x/app", "api/V1/app"]
            .into_iter()
            .chain(["api/v1.0/app", "api/pages/v1", "api//v1", "v1/app/users/me", "team/api/v1/app/users/me", "favicon.ico"])
    {
        let reply = t.anonymous().get(&format!("//{path}")).await;
        for name in ["x-api-version", "x-api-latest-version", "deprecation", "sunset", "x-deprecation-notice", "link"] {
            assert_eq!(all(&reply, name), Vec::<&str>::new(), "/{path}: {name}");
        }
    }
}

async fn version_in_a_request_header_is_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (path, version) in [("/app/users/me", "v1"), ("//api/v2/app/users/me", "v2")] {
        let plain = amy.get(path).await.expect(200);
        for name in ["accept-version", "x-api-version"] {
            for value in ["v1", "v2", "1.0", "V2", "v9", "", "nonsense"] {
                let reply = amy.get(path).header(name, value).await;
                names(&reply, version, value);
                let mut body = reply.expect(200);
                if version == "v2" {
                    body["meta"]["request_id"] = plain["meta"]["request_id"].clone();
                }
                assert_eq!(body, plain, "{name}: {value}");
            }
        }
    }
    let nowhere = amy.get("//api/v3/app/users/me").header("accept-version", "v1").await;
    nowhere.expect_error(404, "NOT_FOUND");
}

async fn nothing_is_deprecated_by_default(b: Backend) {
    let t = TestApp::start(b).await;
    for path in ["/app/users/me", "//api/v2/app/users/me", "/nothing"] {
        assert_eq!(deprecation(&t.user("amy").await.get(path).await), NOT_DEPRECATED, "{path}");
    }
}

async fn deprecated_version_is_announced_with_every_answer(b: Backend) {
    let vars = [("API_DEPRECATED_VERSIONS", "v1=2026-12-01"), ("API_SUNSET_DATES", "v1=2027-12-31"), ("RATE_LIMIT_DEFAULT", "2/day")];
    let t = TestApp::with(b, &vars).await;
    let amy = t.user("amy").await;
    for (status, reply) in [
        (200, amy.get("/app/users/me").await),
        (429, amy.get("/app/users/me").await),
        (401, t.with_token("junk").get("/app/users/me").await),
        (404, t.anonymous().get("/nothing").await),
        (405, amy.delete("/app/users/me").await),
        (200, t.anonymous().get("/openapi.json").await),
    ] {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(
            deprecation(&reply),
            [
                vec!["@1796083200"],
                vec!["Fri, 31 Dec 2027 00:00:00 GMT"],
                vec!["API v1 is deprecated. It will be removed on 2027-12-31. Please migrate to v2."],
                vec!["</api/v2/>; rel=\"successor-version\""],
            ],
            "{status}"
        );
        names(&reply, "v1", "a deprecated version");
    }
    // The other version is not affected.
    assert_eq!(deprecation(&t.anonymous().get("//api/v2/nothing").await), NOT_DEPRECATED);
    // Pages of an allowed origin can read what they are told.
    let reply = amy.get("/nothing").header("origin", FRONT_END).await;
    let exposed = reply.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
    for name in ["x-api-version", "x-api-latest-version", "deprecation", "sunset", "x-deprecation-notice", "link"] {
        assert!(exposed.split(", ").any(|known| known == name), "{name}: {exposed}");
        assert!(reply.headers.contains_key(name), "{name}");
    }
}

async fn deprecation_since_the_start_has_its_date(b: Backend) {
    let t = TestApp::with(b, &[("API_DEPRECATED_VERSIONS", "V1")]).await;
    let midnight = t.clock.now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    t.clock.advance(chrono::TimeDelta::days(3));
    let reply = t.anonymous().get("/public/nothing").await;
    let [since, sunset, notice, link] = deprecation(&reply);
    assert_eq!(since, [format!("@{midnight}")]);
    assert_eq!(sunset, Vec::<&str>::new());
    assert_eq!((notice, link.len()), (vec!["API v1 is deprecated. Please migrate to v2."], 1));
}

async fn deprecation_of_the_latest_version_names_no_successor(b: Backend) {
    let vars = [("API_DEPRECATED_VERSIONS", "v2=2026-12-01"), ("API_SUNSET_DATES", "v2=2026-12-01")];
    let t = TestApp::with(b, &vars).await;
    let reply = t.anonymous().get("//api/v2/nothing").await;
    let [since, sunset, notice, link] = deprecation(&reply);
    assert_eq!((since, sunset), (vec!["@1796083200"], vec!["Tue, 01 Dec 2026 00:00:00 GMT"]));
    assert_eq!(notice, ["API v2 is deprecated. It will be removed on 2026-12-01."]);
    assert_eq!(link, Vec::<&str>::new());
    assert_eq!(deprecation(&t.anonymous().get("/nothing").await), NOT_DEPRECATED);
}

async fn deprecation_keeps_the_links_of_a_handler(b: Backend) {
    let t = TestApp::with_feature(b, &Odd, &[("API_DEPRECATED_VERSIONS", "v1")]).await;
    let reply = t.anonymous().get("/public/linked").await;
    assert_eq!(all(&reply, "link"), ["</next>; rel=\"next\"", "</api/v2/>; rel=\"successor-version\""]);
}

#[tokio::test]
async fn bad_deprecation_stops_the_start_and_names_the_variable() {
    for (deprecated, sunsets, variable, reason) in [
        ("v3", "", "API_DEPRECATED_VERSIONS", "known versions (v1, v2)"),
        ("v1=2026-13-01", "", "API_DEPRECATED_VERSIONS", "dates exist"),
        ("v1,v1=2026-12-01", "", "API_DEPRECATED_VERSIONS", "each version once"),
        ("v1=2026-12-01", "v1=2026-11-30", "API_SUNSET_DATES", "before it is deprecated"),
        ("", "v1=2027-12-31", "API_SUNSET_DATES", "is not deprecated"),
    ] {
        let place = Place::bare().with("API_DEPRECATED_VERSIONS", deprecated).with("API_SUNSET_DATES", sunsets);
        for command in ["serve", "config"] {
            let outcome = place.run(&[command]).await;
            assert!(outcome.code != 0 && outcome.err.contains(variable) && outcome.err.contains(reason), "{deprecated}: {}", outcome.err);
        }
    }
    let same = Place::bare().with("API_V1_STR", "/x").with("API_V2_STR", "/x").run(&["config"]).await;
    assert!(same.code != 0 && same.err.contains("API_V2_STR: must differ"), "{}", same.err);
    let latest = Place::bare().with("API_DEPRECATED_VERSIONS", "v2").run(&["config"]).await.expect_ok();
    assert!(latest.contains("the latest version"), "{latest}");
}
