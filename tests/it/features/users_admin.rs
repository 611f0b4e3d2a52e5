//! User administration: list, filters, cursors and lookup by id.

use std::fmt::Write as _;

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, SECRET, TestApp, ids, tokens};

crate::on_both_backends![
    admin_users_list_default_is_newest_first,
    admin_users_list_by_activity_returns_matching_users,
    admin_users_list_equal_timestamps_sort_by_id_descending,
    admin_users_cursor_walk_with_filter_returns_all,
    admin_users_cursor_walk_during_changes_skips_no_user,
    admin_users_cursor_with_other_filter_returns_422,
    admin_user_path_with_encoded_id_finds_user,
    admin_user_path_with_impossible_id_returns_404,
];
crate::on_sqlite![
    admin_users_list_invalid_parameter_returns_422,
];

/// Creates users one second apart, every third deactivated; returns their ids, newest first.
async fn crowd(t: &TestApp, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        t.clock.advance(TimeDelta::seconds(1));
        let id = format!("user-{n:02}");
        t.user(&id).await;
        if n % 3 == 0 {
            t.sql(&format!("UPDATE users SET is_active = FALSE WHERE id = '{id}'")).await;
        }
        ids.insert(0, id);
    }
    ids
}

/// Query filters, each with the predicate for the users that it returns.
type Filter = (&'static [(&'static str, &'static str)], fn(&Value) -> bool);
const FILTERS: [Filter; 3] =
    [(&[], |_| true), (&[("is_active", "true")], |user| user["is_active"] == true), (&[("is_active", "false")], |user| user["is_active"] == false)];

async fn all(admin: &Client) -> Vec<Value> {
    admin.get("/admin/users?limit=100").await.expect(200)["items"].as_array().unwrap().clone()
}

async fn admin_users_list_default_is_newest_first(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let mut expected = crowd(&t, 5).await;
    expected.push("the-admin".to_owned());
    let page = admin.get("/admin/users").await.expect(200);
    assert_eq!((&page["total"], &page["skip"], &page["limit"]), (&json!(6), &json!(0), &json!(20)));
    assert_eq!(ids(page["items"].as_array().unwrap()), expected);
    for user in page["items"].as_array().unwrap() {
        let one = admin.get(&format!("/admin/users/{}", user["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one, *user);
        let mut members: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members.join(" "),
            "apple_original_transaction_id avatar_url created_at email full_name google_purchase_token id is_active last_login_at \
             login_count role stripe_customer_id subscription_plan subscription_status updated_at"
        );
    }
    let page = admin.get("/admin/users?skip=4&limit=1").await.expect(200);
    assert_eq!(page, json!({"items": [all(&admin).await[4]], "total": 6, "skip": 4, "limit": 1}));
    let beyond = admin.get("/admin/users?skip=6").await.expect(200);
    assert_eq!(beyond, json!({"items": [], "total": 6, "skip": 6, "limit": 20}));
}

async fn admin_users_list_by_activity_returns_matching_users(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    crowd(&t, 7).await;
    let all = all(&admin).await;
    for (filter, shows) in FILTERS {
        let expected: Vec<_> = all.iter().filter(|user| shows(user)).cloned().collect();
        let page = admin.get("/admin/users").query(filter).await.expect(200);
        assert_eq!(page, json!({"items": expected, "total": expected.len(), "skip": 0, "limit": 20}));
        let beyond = admin.get("/admin/users?skip=50&limit=3").query(filter).await.expect(200);
        assert_eq!(beyond, json!({"items": [], "total": expected.len(), "skip": 50, "limit": 3}));
    }
}

async fn admin_users_list_equal_timestamps_sort_by_id_descending(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    for name in ["m", "c", "z", "a", "q"] {
        t.user(name).await;
    }
    let expected = ["z", "the-admin", "q", "m", "c", "a"];
    assert_eq!(ids(&all(&admin).await), expected);
    for (skip, id) in expected.iter().enumerate() {
        let page = admin.get(&format!("/admin/users?limit=1&skip={skip}")).await.expect(200);
        assert_eq!(page["items"][0]["id"], *id);
    }
    assert_eq!(ids(&admin.walk("/admin/users", &[], 1).await), expected);
}

async fn admin_users_cursor_walk_with_filter_returns_all(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    crowd(&t, 10).await;
    // Some users share a creation time.
    t.sql("UPDATE users SET created_at = (SELECT MAX(created_at) FROM users) WHERE id IN ('user-02', 'user-03', 'user-06', 'user-07')").await;
    let all = all(&admin).await;
    for (filter, shows) in FILTERS {
        let expected: Vec<_> = all.iter().filter(|user| shows(user)).cloned().collect();
        for limit in [1, 2, 3, 4, 100] {
            assert_eq!(admin.walk("/admin/users", filter, limit).await, expected);
        }
    }
}

async fn admin_users_cursor_walk_during_changes_skips_no_user(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let expected = crowd(&t, 6).await;
    let page = admin.get("/admin/users?limit=2&cursor=").await.expect(200);
    assert_eq!(ids(page["items"].as_array().unwrap()), expected[..2]);
    t.clock.advance(TimeDelta::seconds(1));
    t.user("newcomer").await;
    admin.patch("/admin/users/user-03", json!({"full_name": "changed"})).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = admin.get("/admin/users").query(&[("cursor", cursor)]).await.expect(200);
    assert_eq!(ids(rest["items"].as_array().unwrap()), ["user-03", "user-02", "user-01", "user-00", "the-admin"]);
}

async fn admin_users_cursor_with_other_filter_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    crowd(&t, 9).await;
    for (own, _) in FILTERS {
        let page = admin.get("/admin/users?limit=1&cursor=").query(own).await.expect(200);
        let cursor = page["next_cursor"].as_str().unwrap();
        for (filter, _) in FILTERS {
            let reply = admin.get("/admin/users").query(filter).query(&[("cursor", cursor)]).await;
            if filter == own {
                reply.expect(200);
            } else {
                assert_eq!(reply.expect_invalid(), ["cursor"]);
            }
        }
        let short = &cursor[..cursor.len() - 1];
        assert_eq!(admin.get("/admin/users").query(own).query(&[("cursor", short)]).await.expect_invalid(), ["cursor"]);
        assert_eq!(admin.get("/admin/users?skip=0").query(own).query(&[("cursor", cursor)]).await.expect_invalid(), ["skip"]);
    }
}

async fn admin_users_list_invalid_parameter_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    for (name, bad) in [
        ("skip", &["-1", "2147483648", "x"][..]),
        ("limit", &["0", "101", "x"]),
        ("is_active", &["maybe", "2", "", "null"]),
    ] {
        for value in bad {
            assert_eq!(admin.get("/admin/users").query(&[(name, value)]).await.expect_invalid(), [name], "{name}={value}");
        }
    }
    for good in ["skip=2147483647", "limit=100", "is_active=True", "role=x"] {
        admin.get(&format!("/admin/users?{good}")).await.expect(200);
    }
}

async fn admin_user_path_with_encoded_id_finds_user(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let longest = "ü".repeat(255);
    let subjects = ["auth0|5f7c8ec7c33c6c004bbafe82", "https://idp.test/users/1?x=y#z", "a:b", " spaced out ", "Ünï/🚀", "100%25", "%", "+", &longest];
    for (n, subject) in subjects.into_iter().enumerate() {
        let claims = tokens::claims(subject, &t.clock).with("email", json!(format!("{n}@example.test")));
        let user = t.with_token(&claims.sign(SECRET));
        assert_eq!(user.get("/app/users/me").await.expect(200)["id"], subject);
        let mut path = "/admin/users/".to_owned();
        subject.bytes().for_each(|byte| write!(path, "%{byte:02X}").unwrap());
        assert_eq!(admin.get(&path).await.expect(200)["id"], subject);
        assert_eq!(admin.patch(&path, json!({"full_name": "found"})).await.expect(200)["full_name"], "found");
        admin.call(Method::POST, &format!("{path}/deactivate")).await.expect(200);
        user.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
        assert_eq!(admin.call(Method::POST, &format!("{path}/activate")).await.expect(200)["id"], subject);
        user.get("/app/users/me").await.expect(200);
    }
    // Encoded as a browser does it.
    assert_eq!(admin.get("/admin/users/auth0%7C5f7c8ec7c33c6c004bbafe82").await.expect(200)["id"], subjects[0]);
    assert_eq!(admin.get("/admin/users/a:b").await.expect(200)["id"], "a:b");
    assert_eq!(admin.walk("/admin/users", &[], 1).await.len(), subjects.len() + 1, "every id works in a cursor");
}

async fn admin_user_path_with_impossible_id_returns_404(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let too_long = "x".repeat(256);
    for (written, id) in
        [("nobody", "nobody"), ("%00", "\0"), ("a%00b", "a\0b"), ("a%0Ab", "a\nb"), ("%7F", "\x7f"), ("%C2%85", "\u{85}"), (&too_long, &too_long)]
    {
        let path = format!("/admin/users/{written}");
        for reply in [
            admin.get(&path).await,
            admin.patch(&path, json!({"full_name": "x"})).await,
            admin.patch(&path, json!({})).await,
            admin.call(Method::POST, &format!("{path}/deactivate")).await,
            admin.call(Method::POST, &format!("{path}/activate")).await,
        ] {
            assert_eq!(reply.expect_error(404, "NOT_FOUND"), json!({"resource": "User", "id": id}));
        }
        assert_eq!(admin.patch(&path, json!({"role": "x"})).await.expect_invalid(), ["role"], "the body is validated before the lookup");
    }
    admin.get("/admin/users/%FF").await.expect_error(404, "NOT_FOUND");
}
