//! The pages of the look-alike of Stripe.

use serde_json::json;

use super::Shop;

#[tokio::test]
async fn checkout_page_pays_declines_and_leads_back() {
    let shop = Shop::open(false).await;
    let customer = shop.customer().await;
    let checkout = shop.checkout(&customer).await;
    let id = checkout["id"].as_str().unwrap();
    let page = format!("c/pay/{id}");
    assert_eq!(checkout["url"], format!("{}/{page}", shop.fake.url));
    let shown = shop.get(&page).await;
    assert!(shown.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let html = shown.expect_text(200);
    assert!(html.contains("A look-alike of Stripe") && html.contains("$19.00") && html.contains("Pro, monthly"), "{html}");

    assert!(shop.form(&page, "action=decline").await.expect_text(200).contains("role=\"alert\""));
    let left = shop.form(&page, "action=leave").await;
    assert_eq!((left.status.as_u16(), left.header("location")), (303, Some("http://localhost:3000/no")));
    assert_eq!(shop.form(&page, "action=steal").await.status, 400);
    assert_eq!(shop.receiver.types(), ["customer.created"], "nothing was bought");

    let paid = shop.form(&page, "action=pay_and_cancel").await;
    let back = format!("http://localhost:3000/ok?session={id}");
    assert_eq!((paid.status.as_u16(), paid.header("location")), (303, Some(back.as_str())));
    let events = shop.receiver.events();
    assert_eq!(events.len(), 6);
    assert!(events[5]["data"]["object"]["cancel_at"].is_i64() && events[5]["data"]["previous_attributes"]["cancel_at"].is_null());
    assert_eq!(shop.get(&page).await.status, 410);
    assert_eq!(shop.form(&page, "action=pay").await.status, 400);
    assert_eq!(shop.get("c/pay/cs_none").await.status, 404);
}

#[tokio::test]
async fn portal_page_changes_the_subscription() {
    for classic in [false, true] {
        let shop = Shop::open(classic).await;
        let (customer, id) = shop.subscriber().await;
        let portal = shop.form("v1/billing_portal/sessions", &format!("customer={customer}&return_url=http://localhost:3000/")).await;
        let portal = portal.expect(200);
        let page = portal["url"].as_str().unwrap().trim_start_matches(&shop.fake.url).trim_start_matches('/').to_owned();
        assert!(shop.get(&page).await.expect_text(200).contains("href=\"http:&#x2f;&#x2f;localhost:3000&#x2f;\""));
        let mut seen = 5;
        let updated = "customer.subscription.updated";
        for (action, status, ends, events) in [
            ("cancel", "active", true, vec![updated]),
            ("resume", "active", false, vec![updated]),
            ("fail", "past_due", false, vec!["invoice.payment_failed", updated]),
            ("pay", "active", false, vec!["invoice.paid", updated]),
            ("end", "canceled", false, vec!["customer.subscription.deleted"]),
        ] {
            let done = shop.form(&page, &format!("subscription={id}&action={action}")).await;
            assert_eq!((done.status.as_u16(), done.header("location")), (303, Some(format!("/{page}").as_str())), "{}", done.text());
            shop.receiver.expect(seen, &events).await;
            seen += events.len();
            let now = shop.subscription(&id).await;
            assert_eq!((&now["status"], now["cancel_at"].is_i64()), (&json!(status), ends), "{action}: {now}");
            assert_eq!(now["cancel_at_period_end"], classic && ends);
            assert!(shop.get(&page).await.expect_text(200).contains(&format!("<span class=\"status\">{status}</span>")));
        }
        for form in ["action=cancel".to_owned(), format!("subscription={id}&action=cancel"), format!("subscription={id}&action=steal")] {
            assert_eq!(shop.form(&page, &form).await.status, 400, "{form}");
        }
        let (_, other) = shop.subscriber().await;
        assert_eq!(shop.form(&page, &format!("subscription={other}&action=end")).await.status, 404, "of another customer");
    }
}

#[tokio::test]
async fn control_page_sets_switches_and_time() {
    let shop = Shop::open(false).await;
    let (_, id) = shop.subscriber().await;
    assert!(shop.get("").await.expect_text(200).contains(&id));
    assert_eq!(shop.form("", "action=switches&loss=on&delay_ms=7").await.status, 303);
    let switches = shop.get("_fake/switches").await.expect(200);
    assert_eq!(switches, json!({"duplicates": false, "disorder": false, "delay_ms": 7, "loss": true, "v2_events": false}));
    assert_eq!(shop.form("", "action=advance&days=31").await.status, 303);
    assert_eq!(shop.receiver.types().len(), 5, "lost");
    assert_eq!(shop.get("v1/invoices?status=paid").await.expect(200)["data"].as_array().unwrap().len(), 2);
    assert_eq!(shop.form("", "action=advance&days=-1").await.status, 400);
}
