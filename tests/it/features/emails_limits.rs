//! Mails to strangers: at most three of one purpose to one address within 15 minutes, and no words of the requester.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::jobs::New;
use omnistack::features::emails::SendNotificationEmail;
use omnistack::providers::ProviderError;
use omnistack::providers::email::message::{Email, Sent};
use omnistack::providers::email::provider::EmailProvider;
use serde_json::{Value, json};

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    fourth_mail_within_15_minutes_is_not_sent,
    suppressed_reset_mail_keeps_earlier_link,
    flood_of_one_purpose_leaves_other_mails,
    concurrent_mails_on_two_instances_send_three,
    mail_limit_after_clock_error_recovers,
    retried_mail_is_not_counted_twice,
    mail_to_unproved_address_holds_no_words_of_requester,
    mail_to_proved_address_greets_by_name,
];

async fn forgot(t: &TestApp, email: &str) -> (u16, Vec<u8>) {
    let reply = t.anonymous().post("/public/auth/forgot-password", json!({"email": email})).await;
    (reply.status.as_u16(), reply.body)
}

async fn resets(t: &TestApp, email: &str) -> usize {
    t.mails(email, "password_reset").await.len()
}

/// Sends a notification; returns whether it was sent.
async fn notify(t: &TestApp, to: &str, purpose: Option<&str>) -> bool {
    let mut payload = json!({"email": to, "subject": "News", "body": "It rains."});
    if let Some(purpose) = purpose {
        payload["purpose"] = purpose.into();
    }
    let (_, result) = t.run_function("send_notification_email", payload).await.unwrap();
    result.unwrap()["message_id"].is_string()
}

async fn fourth_mail_within_15_minutes_is_not_sent(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let start = t.clock.now();
    let first = forgot(&t, "ada@example.test").await;
    assert_eq!((first.0, resets(&t, "ada@example.test").await), (202, 1));
    for (minute, sent) in [(5, 2), (10, 3), (11, 3), (14, 3), (15, 4), (16, 4), (20, 5)] {
        t.clock.advance(TimeDelta::minutes(minute) - (t.clock.now() - start));
        assert_eq!(forgot(&t, " ADA@example.test").await, first, "every request gets the same answer");
        assert_eq!(resets(&t, "ada@example.test").await, sent, "minute {minute}");
    }
    // The address is stored as a keyed hash, and only until the hourly sweep.
    let stored = t.texts("SELECT recipient FROM email_slots").await;
    assert!(!stored.is_empty() && stored.iter().all(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())), "{stored:?}");
    t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM email_slots").await, 3, "those of the last 15 minutes");
    t.clock.advance(TimeDelta::minutes(15));
    t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM email_slots").await, 0);
}

async fn suppressed_reset_mail_keeps_earlier_link(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    for _ in 0..6 {
        forgot(&t, "ada@example.test").await;
        t.run_jobs().await;
        t.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(resets(&t, "ada@example.test").await, 3);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    let body = json!({"token": token, "password": "another unusual one"});
    t.anonymous().post("/public/auth/reset-password", body).await.expect(200);
}

async fn flood_of_one_purpose_leaves_other_mails(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    for _ in 0..4 {
        forgot(&t, "ada@example.test").await;
        t.run_jobs().await;
    }
    // A reset mail by hand counts with the accounts' own ones.
    let by_hand = json!({"email": "ada@example.test", "reset_link": "https://app.example/x"});
    assert_eq!(t.run_function("send_password_reset_email", by_hand).await.unwrap().1.unwrap(), json!({"message_id": null}));
    // Another address and another purpose are not affected, least of all the notice of a changed password.
    let body = json!({"current_password": PASSWORD, "new_password": "another unusual one"});
    ada.client.post("/app/auth/change-password", body).await.expect(204);
    assert_eq!(t.mails("ada@example.test", "password_changed").await.len(), 1);
    t.register("bea@example.test").await;
    forgot(&t, "bea@example.test").await;
    assert_eq!(resets(&t, "bea@example.test").await, 1);
    for _ in 0..3 {
        assert!(notify(&t, "ada@example.test", None).await && notify(&t, "ada@example.test", Some("invoice")).await);
    }
    assert!(!notify(&t, "ada@example.test", None).await && !notify(&t, "ada@example.test", Some("invoice")).await);
}

async fn concurrent_mails_on_two_instances_send_three(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    // Spellings of one address are counted together.
    let spellings = ["anna@müller.example", "ANNA@MU\u{308}LLER.example", "anna@xn--mller-kva.example"];
    let sent = join_all((0..24).map(|n| notify(if n % 2 == 0 { &t } else { &other }, spellings[n % 3], None))).await;
    assert_eq!(sent.iter().filter(|sent| **sent).count(), 3, "{sent:?}");
    // A process that has just started knows of them.
    assert!(!notify(&t.second(&[]).await, spellings[0], None).await);
}

async fn mail_limit_after_clock_error_recovers(b: Backend) {
    let t = TestApp::start(b).await;
    for _ in 0..3 {
        assert!(notify(&t, "ada@example.test", None).await);
    }
    t.sql("UPDATE email_slots SET taken_at = '2090-01-01T00:00:00.000000+00:00'").await;
    assert!(notify(&t, "ada@example.test", None).await);
}

/// Fails the first few sends.
struct Failing(AtomicUsize);

#[async_trait]
impl EmailProvider for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(ProviderError::Transient { message: "busy".to_owned(), retry_after: None }),
            Err(_) => Ok(Sent { message_id: mail.to.clone() }),
        }
    }
}

async fn retried_mail_is_not_counted_twice(b: Backend) {
    let t = TestApp::start(b).await;
    t.app.mailer.replace_provider(Arc::new(Failing(AtomicUsize::new(3))));
    for n in 0..3 {
        let job = SendNotificationEmail {
            email: "ada@example.test".to_owned(),
            subject: n.to_string(),
            body: String::new(),
            template: None,
            data: None,
            purpose: None,
        };
        t.app.jobs.enqueue(&t.app.db, &job, New::default()).await.unwrap();
    }
    t.run_jobs().await;
    t.clock.advance(TimeDelta::minutes(1));
    t.run_jobs().await;
    let results = t.texts("SELECT CAST(result AS TEXT) FROM jobs WHERE function = 'send_notification_email'").await;
    let results: Vec<Value> = results.iter().map(|result| serde_json::from_str(result).unwrap()).collect();
    assert_eq!(results, vec![json!({"message_id": "ada@example.test"}); 3]);
    assert!(!notify(&t, "ada@example.test", None).await);
}

/// Checks that the mail holds nothing that the requester wrote, and links to the service only.
#[track_caller]
fn check_impersonal(mail: &Value) {
    let text = mail.to_string().replace("&#x2f;", "/");
    assert!(!text.contains("won") && !text.contains("evil"), "{text}");
    for (at, _) in text.match_indices("http") {
        let ours = text[at..].strip_prefix("http://localhost:8000").is_some_and(|rest| rest.starts_with(['/', '"', '\\']));
        assert!(ours, "{}", &text[at..]);
    }
}

async fn mail_to_unproved_address_holds_no_words_of_requester(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let words = "You won! See https://evil.example";
    let body = json!({"email": "ada@example.test", "password": PASSWORD, "full_name": words});
    for _ in 0..2 {
        t.anonymous().post("/public/auth/register", body.clone()).await.expect(202);
        t.run_jobs().await;
    }
    forgot(&t, "ada@example.test").await;
    let open = TestApp::with_accounts(b, &[]).await;
    let eve = open.account(&open.anonymous().post("/public/auth/register", body).await.expect(201));
    eve.client.patch("/app/users/me", json!({"full_name": words})).await.expect(200);
    forgot(&open, "ada@example.test").await;
    let change = json!({"current_password": PASSWORD, "new_password": "another unusual one"});
    eve.client.post("/app/auth/change-password", change).await.expect(204);
    let mut seen = 0;
    for (t, templates) in [(&t, ["verify_email", "password_reset"]), (&open, ["verify_email", "password_reset"])] {
        for template in templates {
            check_impersonal(&t.mails("ada@example.test", template).await[0]);
        }
        for mail in t.app.mailer.mailbox().unwrap().list().await {
            check_impersonal(&serde_json::to_value(mail).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
    assert_eq!(open.mails("ada@example.test", "password_changed").await.len(), 1);
}

async fn mail_to_proved_address_greets_by_name(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let body = json!({"email": "ada@example.test", "password": PASSWORD, "full_name": "Ada Lovelace"});
    t.anonymous().post("/public/auth/register", body).await.expect(201);
    let token = t.mailed_token("ada@example.test", "verify_email").await;
    t.anonymous().post("/public/auth/verify-email", json!({"token": token})).await.expect(200);
    assert!(t.mails("ada@example.test", "welcome").await[0]["text"].as_str().unwrap().contains("Welcome, Ada Lovelace!"));
    forgot(&t, "ada@example.test").await;
    assert!(t.mails("ada@example.test", "password_reset").await[0]["text"].as_str().unwrap().contains("Hello Ada Lovelace,"));
}
