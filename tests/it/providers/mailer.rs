//! The mailer: behaviour that does not depend on the vendor.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use omnistack::providers::ProviderError;
use omnistack::providers::email::mailer::{Bulk, Content, Outgoing, Recipient};
use omnistack::providers::email::message::{Email, Sender, Sent};
use omnistack::providers::email::provider::EmailProvider;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{rejected, send, welcome};
use crate::harness::{Backend, TestApp};

/// In-memory vendor that records every mail and the number of concurrent sends.
#[derive(Default)]
struct Memory {
    mails: Mutex<Vec<Email>>,
    /// Current and highest number of concurrent sends.
    busy: Mutex<(usize, usize)>,
    /// If set, each send waits for a permit.
    gate: Option<Semaphore>,
}

#[async_trait]
impl EmailProvider for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        {
            let (now, most) = &mut *self.busy.lock().unwrap();
            *now += 1;
            *most = (*now).max(*most);
        }
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.busy.lock().unwrap().0 -= 1;
        self.mails.lock().unwrap().push(mail.clone());
        Ok(Sent { message_id: mail.to.clone() })
    }
}

async fn with_memory(vendor: Memory) -> (TestApp, Arc<Memory>) {
    let t = TestApp::with(Backend::Sqlite, &[("PROJECT_NAME", "Acme")]).await;
    let vendor = Arc::new(vendor);
    t.app.mailer.replace_provider(vendor.clone());
    (t, vendor)
}

impl Memory {
    fn last(&self) -> Email {
        self.mails.lock().unwrap().last().unwrap().clone()
    }
}

#[tokio::test]
async fn mailer_line_breaks_cannot_inject_headers() {
    let (t, vendor) = with_memory(Memory::default()).await;
    let evil = "Bob\r\nBcc: x@y.example";
    let sender = Sender { name: evil.to_owned(), address: "app@example.com".to_owned() };
    send(&t, Outgoing { subject: evil.to_owned(), from: Some(sender), ..welcome() }).await.unwrap();
    let mail = vendor.last();
    assert_eq!((mail.subject.as_str(), mail.from.name.as_str()), ("Bob Bcc: x@y.example", "Bob Bcc: x@y.example"));

    for to in ["x@y.example\r\nBcc: z@y.example", "x@y.example,z@y.example", "x y@y.example", "nobody", ""] {
        assert_eq!(rejected(send(&t, Outgoing { to: to.to_owned(), ..welcome() }).await), "the recipient is not an e-mail address");
    }
    let from = Some(Sender { name: String::new(), address: "a@b.example\nBcc: x@y.example".to_owned() });
    assert_eq!(rejected(send(&t, Outgoing { from, ..welcome() }).await), "the sender is not an e-mail address");
    assert_eq!(vendor.mails.lock().unwrap().len(), 1, "a rejected mail does not reach the vendor");
}

#[tokio::test]
async fn mailer_renders_template_html_and_text_content() {
    let (t, vendor) = with_memory(Memory::default()).await;
    let evil = json!({"name": "<script>alert(1)</script>", "verify_url": "javascript:alert(1)"});
    send(&t, Outgoing { content: Content::Template { name: "welcome".to_owned(), data: evil }, ..welcome() }).await.unwrap();
    let mail = vendor.last();
    assert!(!mail.html.contains("<script") && !mail.html.contains("javascript"), "{}", mail.html);
    assert!(mail.text.contains("Welcome, <script>alert(1)</script>!"), "{}", mail.text);
    assert_eq!(mail.template.as_deref(), Some("welcome"));

    send(&t, Outgoing { content: Content::Html("<p>Hi<br>there</p>".to_owned()), ..welcome() }).await.unwrap();
    assert_eq!((vendor.last().html.as_str(), vendor.last().text.as_str()), ("<p>Hi<br>there</p>", "Hi\nthere"));

    send(&t, Outgoing { content: Content::Text("1 < 2\n\nyes".to_owned()), ..welcome() }).await.unwrap();
    let mail = vendor.last();
    assert_eq!(mail.text, "1 < 2\n\nyes");
    assert!(mail.html.contains("1 &lt; 2</p>") && mail.html.contains("Acme</h1>"), "{}", mail.html);

    let unknown = Content::Template { name: "../secret".to_owned(), data: Value::Null };
    assert!(rejected(send(&t, Outgoing { content: unknown, ..welcome() }).await).contains("notification, password_changed, password_reset"));
    let list = Content::Template { name: "welcome".to_owned(), data: json!(["Ada"]) };
    rejected(send(&t, Outgoing { content: list, ..welcome() }).await);
}

fn bulk(recipients: &[(Option<&str>, Value)]) -> Bulk {
    Bulk {
        subject: "News".to_owned(),
        template: "notification".to_owned(),
        data: json!({"title": "News", "name": "reader", "message": "It rains"}),
        recipients: recipients.iter().map(|(to, data)| Recipient { to: to.map(str::to_owned), data: data.clone() }).collect(),
        from: None,
        key: Some("issue-7".to_owned()),
    }
}

#[tokio::test]
async fn mailer_bulk_fails_only_invalid_recipients() {
    let (t, vendor) = with_memory(Memory::default()).await;
    let to = [
        (Some("ada@example.com"), json!({"name": "Ada"})),
        (None, json!({})),
        (Some("no address"), json!({})),
        (Some("bob@example.com"), json!({})),
        (Some("eve@example.com"), json!(7)),
        (Some("ada@example.com"), json!({"name": "Ada again"})),
    ];
    let results = t.app.mailer.send_bulk(bulk(&to), t.clock.now()).await;
    let ids: Vec<_> = results.iter().map(|sent| sent.as_ref().ok().map(|sent| sent.message_id.as_str())).collect();
    assert_eq!(ids, [Some("ada@example.com"), None, None, Some("bob@example.com"), None, Some("ada@example.com")]);

    let mails = vendor.mails.lock().unwrap().clone();
    let greeted = |name: &str| mails.iter().find(|mail| mail.text.contains(&format!("Hello {name},"))).unwrap();
    let keys = ["Ada", "reader", "Ada again"].map(|name| greeted(name).key.clone().unwrap());
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");

    // The keys do not depend on the order of the recipients.
    let again = [(Some("bob@example.com"), json!({})), (Some("ada@example.com"), json!({"name": "Ada"}))];
    vendor.mails.lock().unwrap().clear();
    t.app.mailer.send_bulk(bulk(&again), t.clock.now()).await;
    let mails = vendor.mails.lock().unwrap().clone();
    let key = |to: &str| mails.iter().find(|mail| mail.to == to).unwrap().key.clone().unwrap();
    assert_eq!([key("ada@example.com"), key("bob@example.com")], keys[..2]);
}

#[tokio::test]
async fn mailer_bulk_sends_at_most_four_at_once() {
    let (t, vendor) = with_memory(Memory { gate: Some(Semaphore::new(0)), ..Memory::default() }).await;
    let addresses: Vec<String> = (0..20).map(|n| format!("n{n}@example.com")).collect();
    let to: Vec<_> = addresses.iter().map(|to| (Some(to.as_str()), json!({}))).collect();
    let mailer = t.app.mailer.clone();
    let sending = tokio::spawn({
        let (bulk, now) = (bulk(&to), t.clock.now());
        async move { mailer.send_bulk(bulk, now).await }
    });
    crate::harness::eventually("four sends are in progress", async || vendor.busy.lock().unwrap().0 == 4).await;
    vendor.gate.as_ref().unwrap().add_permits(20);
    let sent: Vec<_> = sending.await.unwrap().into_iter().map(|sent| sent.unwrap().message_id).collect();
    assert_eq!(sent, addresses);
    assert_eq!(vendor.busy.lock().unwrap().1, 4);
}

#[tokio::test]
async fn mailbox_shows_mail_before_vendor_answers() {
    let (t, vendor) = with_memory(Memory { gate: Some(Semaphore::new(0)), ..Memory::default() }).await;
    let (mailer, now) = (t.app.mailer.clone(), t.clock.now());
    let sending = tokio::spawn(async move { mailer.send(welcome(), now).await });
    crate::harness::eventually("the send is in progress", async || vendor.busy.lock().unwrap().0 == 1).await;
    let only = async || {
        let [kept] = t.app.mailer.mailbox().unwrap().list().await.try_into().ok().unwrap();
        (kept.message_id, kept.error)
    };
    assert_eq!(only().await, (None, None));
    assert!(t.anonymous().get("//dev/mailbox").await.expect_text(200).contains("no answer yet"));

    vendor.gate.as_ref().unwrap().add_permits(1);
    sending.await.unwrap().unwrap();
    assert_eq!(only().await, (Some("ada@example.com".to_owned()), None));
    assert!(!t.anonymous().get("//dev/mailbox").await.expect_text(200).contains("no answer yet"));
}

#[tokio::test]
async fn mailer_call_is_counted_by_vendor() {
    let (t, _vendor) = with_memory(Memory::default()).await;
    send(&t, welcome()).await.unwrap();
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    let line = page.lines().find(|line| line.starts_with("external_") && line.contains("\"memory\"") && line.contains("success"));
    assert!(line.is_some(), "{page}");
}
