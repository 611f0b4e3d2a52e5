//! The pages of the API's documentation behind a proxy that strips a path prefix, as gateways and ingresses do.

use std::sync::OnceLock;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::harness::{Backend, Client, Reply, TestApp};

const PREFIX: &str = "/team/orders";

/// Forwards what is below the prefix, without the prefix; anything else is not found, as at a gateway with other services.
async fn forward(State(upstream): State<&'static OnceLock<Client>>, request: Request) -> Response {
    let Some(path) = request.uri().path().strip_prefix(PREFIX).filter(|path| path.starts_with('/')) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let reply = upstream.get().unwrap().get(&format!("/{path}")).await;
    let mut response = (reply.status, reply.body).into_response();
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::LOCATION] {
        if let Some(value) = reply.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Starts the proxy and the server behind it; returns the proxy's address with the prefix.
async fn behind_prefix() -> (TestApp, Url) {
    static UPSTREAM: OnceLock<Client> = OnceLock::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}{PREFIX}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, axum::Router::new().fallback(forward).with_state(&UPSTREAM)).await });
    let t = TestApp::with(Backend::Sqlite, &[("PUBLIC_BASE_URL", &base)]).await;
    assert!(UPSTREAM.set(Client::new(&t.url, None)).is_ok());
    (t, Url::parse(&base).unwrap())
}

/// What a browser reads at this address.
async fn read(url: &Url) -> Reply {
    let root = format!("{}://{}", url.scheme(), url.authority());
    Client::new(&root, None).get(&format!("/{}", url.path())).await
}

#[tokio::test]
async fn docs_pages_work_behind_a_stripped_prefix() {
    let (_app, base) = behind_prefix().await;
    for (name, initializer) in [("docs", "docs/swagger-initializer.js"), ("redoc", "redoc/start.js")] {
        let page = base.join(name).unwrap();
        let html = read(&page).await.expect_text(200);
        let references: Vec<&str> = ["src=\"", "href=\""].iter().flat_map(|attribute| html.split(attribute).skip(1)).collect();
        let files: Vec<&str> =
            references.iter().map(|rest| rest.split('"').next().unwrap()).filter(|file| !file.starts_with("data:")).collect();
        assert!(files.contains(&initializer), "{files:?}");
        for file in files {
            assert_eq!(read(&page.join(file).unwrap()).await.status, 200, "{file}");
        }

        // The script names the document of each version, which the browser resolves against the page.
        let script = read(&page.join(initializer).unwrap()).await.expect_text(200);
        let urls = script.split("\"url\":").skip(1).map(|rest| rest.trim_start().trim_start_matches('"').split('"').next().unwrap());
        let urls: Vec<_> = urls.collect();
        assert_eq!(urls, ["api/v1/openapi.json", "api/v2/openapi.json"], "the switch between versions");
        for (url, version) in urls.iter().zip(["v1", "v2"]) {
            let document: Value = read(&page.join(url).unwrap()).await.expect(200);
            assert_eq!(document["servers"], json!([{"url": base.as_str().trim_end_matches('/')}]));

            // A call as clients of the document make it.
            let path = format!("/api/{version}/app/users/me");
            assert!(document["paths"].get(&path).is_some());
            let call = format!("{}{path}", document["servers"][0]["url"].as_str().unwrap());
            let reply = read(&Url::parse(&call).unwrap()).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (401, &json!("AUTHENTICATION_ERROR")));
        }

        // With a slash at its end the address leads to the page.
        let slash = base.join(&format!("{name}/")).unwrap();
        let reply = read(&slash).await;
        assert_eq!(reply.status, 307);
        assert_eq!(slash.join(reply.header("location").unwrap()).unwrap(), page);
    }
}

#[tokio::test]
async fn openapi_without_public_url_names_no_server() {
    let t = TestApp::start(Backend::Sqlite).await;
    assert!(t.anonymous().get("/openapi.json").await.expect(200).get("servers").is_none());
}
