//! The check of the test harness that every answer is documented (`harness::documented`) sees what it should.

use http::Method;
use omnistack::app::App;
use omnistack::app::feature::Feature;
use omnistack::platform::error::{Error, Result};
use omnistack::platform::http::{Endpoints, PathParam, Policy};
use utoipa_axum::routes;

use crate::harness::{Backend, TestApp};

/// A feature with one operation, which does not declare all of its refusals.
struct Careless;

impl Feature<App> for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(Policy::public(), routes!(refuse))
    }
}

/// Refuse a request
#[utoipa::path(get, path = "/careless/{what}", operation_id = "refuse", tag = "careless", params(("what" = String, Path)),
    responses((status = 204), (status = 403)))]
async fn refuse(PathParam(what): PathParam) -> Result<http::StatusCode> {
    match what.as_str() {
        "declared" => Err(Error::Forbidden("Refused")),
        "derived" => Err(Error::not_found("Thing", what)),
        "fault" => Err(anyhow::anyhow!("a fault").into()),
        "undeclared" => Err(Error::Conflict { message: "Refused", resource: "Thing" }),
        _ => Ok(http::StatusCode::NO_CONTENT),
    }
}

#[tokio::test]
async fn undocumented_status_is_noticed_in_any_test() {
    let t = TestApp::with_feature(Backend::Sqlite, &Careless, &[]).await;
    let anybody = t.anonymous();
    for (what, status) in [("nothing", 204), ("declared", 403), ("derived", 404), ("fault", 500)] {
        assert_eq!(anybody.get(&format!("/public/careless/{what}")).await.status, status);
    }
    // No operation: neither a path nor a method.
    anybody.get("/public/careless").await.expect_error(404, "NOT_FOUND");
    anybody.call(Method::POST, "/public/careless/x").await.expect_error(405, "METHOD_NOT_ALLOWED");
    assert!(t.documented.take().is_empty());

    let undeclared = "/public/careless/undeclared";
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(anybody.call(method, undeclared).await.status, 409);
        let found: Vec<_> = t.documented.take().into_iter().collect();
        assert_eq!(found, ["409 Conflict of GET /api/v1/public/careless/{what}"]);
    }
}

#[tokio::test]
#[should_panic(expected = "409 Conflict of GET /api/v1/public/careless/{what}")]
async fn undocumented_status_fails_its_test() {
    let t = TestApp::with_feature(Backend::Sqlite, &Careless, &[]).await;
    t.anonymous().get("/public/careless/undeclared").await.expect_error(409, "CONFLICT");
}
