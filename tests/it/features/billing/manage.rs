//! Portal, invoices, cancellation and resumption, with classic and flexible billing.

use serde_json::{Value, json};

use super::stub::{Stub, missing};
use super::{become_customer, cancel, customer_of, resume, selling, state, stored, subscription};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    portal_leads_back_to_the_url,
    invoices_are_read_with_null_members,
    cancel_at_period_end_and_resume,
    cancel_immediately_ends_the_plan,
    cancel_repeated_by_lost_answer_succeeds,
    cancel_and_resume_need_a_subscription,
    resume_clears_flag_and_time,
    answers_without_stripe,
    missing_customer_is_forgotten,
];

async fn subscriber(b: Backend, stub: &Stub, subscriptions: Vec<Value>) -> (TestApp, crate::harness::Client) {
    let t = selling(b, stub).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    stub.with(|account| account.subscriptions = subscriptions);
    (t, ada)
}

async fn portal_leads_back_to_the_url(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let portal = "/app/billing/portal?return_url=https://app.example.com/settings";
    ada.get(portal).await.expect_error(400, "BAD_REQUEST");
    become_customer(&t, "ada", "cus_ada").await;
    assert_eq!(ada.get(portal).await.expect(200), json!({"url": "https://billing.example/p/cus_ada"}));
    let form = stub.only("POST /v1/billing_portal/sessions").form;
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(form, [("customer", "cus_ada"), ("return_url", "https://app.example.com/settings")]);
}

async fn invoices_are_read_with_null_members(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    assert_eq!(ada.get("/app/billing/invoices").await.expect(200), json!([]));
    assert!(stub.asked().is_empty());
    become_customer(&t, "ada", "cus_ada").await;
    let draft = json!({"id": "in_2", "number": null, "status": null, "amount_due": 1900, "amount_paid": 0, "currency": "eur", "created": 20,
        "hosted_invoice_url": null, "invoice_pdf": null});
    let paid = json!({"id": "in_1", "number": "A-1", "status": "paid", "amount_due": 1900, "amount_paid": 1900, "currency": "eur", "created": 10,
        "hosted_invoice_url": "https://i.example/1", "invoice_pdf": "https://i.example/1.pdf", "lines": {"data": []}, "customer": "cus_ada"});
    stub.with(|account| account.invoices = vec![draft.clone(), paid]);
    let list = ada.get("/app/billing/invoices?limit=3").await.expect(200);
    let mut expected = draft;
    expected["status"] = "draft".into();
    assert_eq!(list[0], expected);
    assert_eq!((&list[1]["status"], list[1].as_object().unwrap().len()), (&json!("paid"), 9));
    assert_eq!(stub.asked()[0].query, [("customer", "cus_ada"), ("limit", "3")].map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    for limit in ["0", "101", "x"] {
        ada.get(&format!("/app/billing/invoices?limit={limit}")).await.expect_error(422, "VALIDATION_ERROR");
    }
}

async fn cancel_at_period_end_and_resume(b: Backend) {
    for flexible in [false, true] {
        let stub = Stub::start().await;
        let newest = json!({"id": "sub_old", "customer": "cus_ada", "status": "canceled", "items": {"data": []}});
        let (t, ada) = subscriber(b, &stub, vec![newest, subscription("ada", "active")]).await;
        stub.with(|account| account.flexible = flexible);
        let canceled = cancel(&ada, "").await.expect(200);
        assert_eq!((&canceled["cancel_at_period_end"], &canceled["current_period_end"]), (&json!(true), &json!("2033-05-18T03:33:20Z")));
        assert!(canceled["message"].is_string());
        let asked = stub.only("POST /v1/subscriptions/sub_ada");
        assert_eq!(asked.form, [("cancel_at_period_end".to_owned(), "true".to_owned())].into());
        // The change is stored before the event comes.
        assert_eq!(stored(&ada).await, state("pro", "active"));
        assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions WHERE cancel_at IS NOT NULL").await, 1);
        assert_eq!(ada.get("/app/billing/status").await.expect(200)["cancel_at_period_end"], true);
        let resumed = resume(&ada).await.expect(200);
        assert_eq!((&resumed["status"], &resumed["plan"]), (&json!("active"), &json!("pro")));
        assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions WHERE cancel_at IS NOT NULL").await, 0);
        assert_eq!(ada.get("/app/billing/status").await.expect(200)["cancel_at_period_end"], false);
        resume(&ada).await.expect_error(400, "BAD_REQUEST");
    }
}

async fn cancel_immediately_ends_the_plan(b: Backend) {
    let stub = Stub::start().await;
    let (t, ada) = subscriber(b, &stub, vec![subscription("ada", "trialing")]).await;
    let canceled = cancel(&ada, "?immediate=true").await.expect(200);
    assert_eq!(canceled["cancel_at_period_end"], false);
    stub.only("DELETE /v1/subscriptions/sub_ada");
    assert_eq!(stored(&ada).await, state("free", "canceled"));
    cancel(&ada, "?immediate=true").await.expect_error(400, "BAD_REQUEST");
    cancel(&ada, "?immediate=perhaps").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 1);
}

async fn cancel_repeated_by_lost_answer_succeeds(b: Backend) {
    let stub = Stub::start().await;
    let (_t, ada) = subscriber(b, &stub, vec![subscription("ada", "active")]).await;
    let (mut first, ended) = (true, subscription("ada", "canceled"));
    stub.overrule(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        // The subscription has ended, but the answer is lost.
        ("DELETE", _) if std::mem::take(&mut first) => Some((500, json!({"error": {"type": "api_error"}}))),
        ("DELETE", _) => Some(missing("id")),
        ("GET", "/v1/subscriptions/sub_ada") => Some((200, ended.clone())),
        _ => None,
    });
    let canceled = cancel(&ada, "?immediate=true").await.expect(200);
    assert_eq!(canceled["cancel_at_period_end"], false);
    assert_eq!(stored(&ada).await, state("free", "canceled"));
}

async fn cancel_and_resume_need_a_subscription(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    cancel(&ada, "").await.expect_error(400, "BAD_REQUEST");
    resume(&ada).await.expect_error(400, "BAD_REQUEST");
    assert!(stub.asked().is_empty());
    become_customer(&t, "ada", "cus_ada").await;
    for status in ["past_due", "unpaid", "incomplete", "paused", "canceled"] {
        let mut set_to_cancel = subscription("ada", status);
        set_to_cancel["cancel_at_period_end"] = true.into();
        stub.with(|account| account.subscriptions = vec![set_to_cancel]);
        cancel(&ada, "").await.expect_error(400, "BAD_REQUEST");
        resume(&ada).await.expect_error(400, "BAD_REQUEST");
    }
}

async fn resume_clears_flag_and_time(b: Backend) {
    let stub = Stub::start().await;
    let mut both = subscription("ada", "active");
    (both["cancel_at_period_end"], both["cancel_at"]) = (true.into(), 1_999_999_999.into());
    let (_t, ada) = subscriber(b, &stub, vec![both]).await;
    // A server that clears only what it is asked to.
    let mut now = subscription("ada", "active");
    (now["cancel_at_period_end"], now["cancel_at"]) = (true.into(), 1_999_999_999.into());
    stub.overrule(move |asked| {
        if asked.method != "POST" {
            return None;
        }
        for (name, cleared) in [("cancel_at_period_end", json!(false)), ("cancel_at", json!(null))] {
            if asked.form.contains_key(name) {
                now[name] = cleared;
            }
        }
        // Renamed and null members refuse nothing.
        now["items"] = Value::Null;
        Some((200, now.clone()))
    });
    assert_eq!(resume(&ada).await.expect(200)["plan"], "pro");
    let forms: Vec<_> = stub.asked().into_iter().filter(|asked| asked.method == "POST").map(|asked| asked.form).collect();
    let form = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    assert_eq!(forms, [form("cancel_at_period_end", "false"), form("cancel_at", "")]);
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn answers_without_stripe(b: Backend) {
    let t = TestApp::start(b).await;
    let ada = t.user("ada").await;
    cancel(&ada, "").await.expect_error(503, "SERVICE_UNAVAILABLE");
    resume(&ada).await.expect_error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(ada.get("/app/billing/invoices").await.expect(200), json!([]));
    ada.get("/app/billing/portal").await.expect_error(422, "VALIDATION_ERROR");
    t.anonymous().call(http::Method::POST, "/app/billing/cancel").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn missing_customer_is_forgotten(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    stub.overrule(|asked| asked.path.starts_with("/v1/").then(|| missing("customer")));
    for (call, status) in [
        (ada.get("/app/billing/portal?return_url=https://app.example.com/"), 400),
        (ada.get("/app/billing/invoices"), 200),
        (ada.call(http::Method::POST, "/app/billing/cancel"), 400),
        (ada.call(http::Method::POST, "/app/billing/resume"), 400),
    ] {
        become_customer(&t, "ada", "cus_ada").await;
        call.await.expect(status);
        assert_eq!(customer_of(&t, "ada").await, "-");
    }
    assert_eq!(t.number("SELECT attempt FROM stripe_customers").await, 4);
    t.erase("ada").await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM stripe_customers").await, 0);
}
