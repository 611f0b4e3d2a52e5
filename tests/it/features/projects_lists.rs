//! Project lists by `skip`, and search.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, TestApp, ids};

crate::on_both_backends![
    project_list_default_is_newest_first_with_total,
    project_list_equal_timestamps_sort_by_id_descending,
    project_list_skip_past_end_returns_total,
    project_search_ignores_case_in_all_scripts,
    project_search_wildcards_match_literally,
    project_search_results_sort_by_name_then_id,
    project_search_empty_text_returns_all,
    project_search_after_rename_finds_new_name,
];
crate::on_sqlite![
    project_list_invalid_parameter_returns_422,
    project_search_over_255_characters_returns_422,
];

async fn found(client: &Client, text: &str) -> Vec<String> {
    let page = client.get("/app/projects").query(&[("search", text), ("limit", "100")]).await.expect(200);
    let names: Vec<_> = page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(page["total"], names.len(), "{page}");
    let walked = client.walk("/app/projects", &[("search", text)], 2).await;
    assert_eq!(page["items"], Value::from(walked), "paging by `skip` and by `cursor` returns the same rows");
    names
}

async fn project_list_default_is_newest_first_with_total(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    bob.project("of somebody else").await;
    let mut rows = Vec::new();
    for n in 0..25 {
        rows.insert(0, amy.project(&format!("project {n}")).await);
        t.clock.advance(TimeDelta::microseconds(1));
    }
    assert_eq!(amy.get("/app/projects").await.expect(200), json!({"items": rows[..20], "total": 25, "skip": 0, "limit": 20}));
    let page = amy.get("/app/projects?skip=23&limit=100").await.expect(200);
    assert_eq!(page, json!({"items": rows[23..], "total": 25, "skip": 23, "limit": 100}));
    let page = amy.get("/app/projects?skip=3&limit=1").await.expect(200);
    assert_eq!(page, json!({"items": [rows[3]], "total": 25, "skip": 3, "limit": 1}));
    // An update does not move a row because the list sorts by creation time.
    let oldest = rows[24]["id"].as_str().unwrap();
    amy.patch(&format!("/app/projects/{oldest}"), json!({"name": "renamed"})).await.expect(200);
    assert_eq!(ids(amy.get("/app/projects?skip=24").await.expect(200)["items"].as_array().unwrap()), [oldest]);
}

async fn project_list_equal_timestamps_sort_by_id_descending(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let first = amy.project("first").await;
    for _ in 0..11 {
        t.clock.advance(TimeDelta::seconds(1));
        amy.project("same").await;
    }
    t.sql("UPDATE projects SET created_at = (SELECT MIN(created_at) FROM projects)").await;
    let all = amy.get("/app/projects?limit=100").await.expect(200);
    let ids = ids(all["items"].as_array().unwrap());
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    assert_eq!(ids.last().copied(), first["id"].as_str());
    for (skip, id) in ids.iter().enumerate() {
        let page = amy.get(&format!("/app/projects?limit=1&skip={skip}")).await.expect(200);
        assert_eq!(page["items"][0]["id"], *id);
        assert_eq!(page["total"], 12);
    }
    assert_eq!(Value::from(amy.walk("/app/projects", &[], 5).await), all["items"]);
}

async fn project_list_skip_past_end_returns_total(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for skip in ["0", "1", "2147483647"] {
        let page = amy.get("/app/projects").query(&[("skip", skip)]).await.expect(200);
        assert_eq!(page, json!({"items": [], "total": 0, "skip": skip.parse::<i64>().unwrap(), "limit": 20}));
    }
    for name in ["Apollo", "Gemini", "Apollo"] {
        amy.project(name).await;
    }
    let page = amy.get("/app/projects?skip=3").await.expect(200);
    assert_eq!(page, json!({"items": [], "total": 3, "skip": 3, "limit": 20}));
    let page = amy.get("/app/projects?skip=2147483647&limit=100&search=apollo").await.expect(200);
    assert_eq!(page, json!({"items": [], "total": 2, "skip": 2_147_483_647, "limit": 100}));
}

async fn project_list_invalid_parameter_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (name, bad) in [
        ("skip", &["-1", "2147483648", "99999999999999999999", "1.5", "x", "", "0x1"][..]),
        ("limit", &["0", "-1", "101", "99999999999999999999", "1.0", "x", "", "null"]),
    ] {
        for value in bad {
            assert_eq!(amy.get("/app/projects").query(&[(name, value)]).await.expect_invalid(), [name], "{name}={value}");
        }
    }
    let mut fields = amy.get("/app/projects?skip=-1&limit=0").await.expect_invalid();
    fields.sort();
    assert_eq!(fields, ["limit", "skip"]);
    for good in ["skip=0", "skip=2147483647", "limit=1", "limit=100", "unknown=x", "limit=0&limit=5"] {
        amy.get(&format!("/app/projects?{good}")).await.expect(200);
    }
}

async fn project_search_ignores_case_in_all_scripts(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for name in ["École", "e\u{301}cole", "ΟΔΥΣΣΕΥΣ", "οδος", "Straße", "ИЗБА", "北京", "Ångström", "Plain"] {
        amy.project(name).await;
    }
    for text in ["école", "ÉCOLE", "E\u{301}COLE", "É", "e\u{301}"] {
        let mut names = found(&amy, text).await;
        names.sort();
        assert_eq!(names, ["e\u{301}cole", "École"], "{text}");
    }
    for text in ["ΟΔΟΣ", "οδοσ", "Οδος"] {
        assert_eq!(found(&amy, text).await, ["οδος"], "{text}");
    }
    // Final and non-final sigma are the same letter, in the name and in the search text.
    for text in ["ΟΔΥΣ", "οδυς", "οδυσσευσ", "ευς"] {
        assert_eq!(found(&amy, text).await, ["ΟΔΥΣΣΕΥΣ"], "{text}");
    }
    for (text, name) in [("STRAß", "Straße"), ("изба", "ИЗБА"), ("京", "北京"), ("\u{212b}NG", "Ångström"), ("LAI", "Plain")] {
        assert_eq!(found(&amy, text).await, [name], "{text}");
    }
    assert!(found(&amy, "ecole").await.is_empty(), "accents are significant");
}

async fn project_search_wildcards_match_literally(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for name in ["100% sure", "100 percent", "snake_case", "snakeXcase", r"C:\temp", r"ends in \", "it's", "a\nb", "[x]*?"] {
        amy.project(name).await;
    }
    for (text, names) in [
        ("%", &["100% sure"][..]),
        ("0%", &["100% sure"]),
        ("_", &["snake_case"]),
        ("e_c", &["snake_case"]),
        ("e%c", &[]),
        (r"\", &[r"C:\temp", r"ends in \"]),
        (r":\T", &[r"C:\temp"]),
        (r"\%", &[]),
        (r"\_", &[]),
        (r"\\", &[]),
        ("%%", &[]),
        ("'", &["it's"]),
        ("A\nB", &["a\nb"]),
        ("[x]", &["[x]*?"]),
        ("*", &["[x]*?"]),
        ("?", &["[x]*?"]),
    ] {
        assert_eq!(found(&amy, text).await, names, "{text}");
    }
}

async fn project_search_results_sort_by_name_then_id(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut same = Vec::new();
    for name in ["x Zebra", "x apple", "x ZEBRA", "x Éclair", "x zebra", "x Apple pie", "x 10", "x 9", "x-ray", "x"] {
        let row = amy.project(name).await;
        if name.to_lowercase() == "x zebra" {
            same.push(row);
        }
    }
    let names = ["x", "x 10", "x 9", "x apple", "x Apple pie", "x Zebra", "x ZEBRA", "x zebra", "x Éclair", "x-ray"];
    assert_eq!(found(&amy, "X").await, names);
    let page = amy.get("/app/projects?search=zebra").await.expect(200);
    assert_eq!(page["items"], Value::from(same.clone()), "equal names sort by id, ascending");
    assert!(ids(&same).is_sorted());
    let page = amy.get("/app/projects?search=X&skip=4&limit=2").await.expect(200);
    assert_eq!((&page["items"][0]["name"], &page["items"][1]["name"]), (&json!("x Apple pie"), &json!("x Zebra")));
    assert_eq!((&page["total"], &page["skip"], &page["limit"]), (&json!(10), &json!(4), &json!(2)));
}

async fn project_search_empty_text_returns_all(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for name in ["b", "a", "c"] {
        amy.project(name).await;
    }
    assert_eq!(amy.get("/app/projects?search=").await.expect(200), amy.get("/app/projects").await.expect(200));
    assert_eq!(amy.walk("/app/projects", &[("search", "")], 2).await, amy.walk("/app/projects", &[], 2).await);
    // White space in the search text is significant.
    assert!(found(&amy, " ").await.is_empty());
}

async fn project_search_over_255_characters_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for sign in ["x", "🚀", "É"] {
        let name = sign.repeat(255);
        amy.project(&name).await;
        assert_eq!(found(&amy, &name).await, [name]);
        for cursor in [&[][..], &[("cursor", "")]] {
            let reply = amy.get("/app/projects").query(&[("search", &sign.repeat(256))]).query(cursor).await;
            assert_eq!(reply.expect_invalid(), ["search"]);
        }
    }
    assert_eq!(amy.get("/app/projects?search=a%00b").await.expect_invalid(), ["search"]);
}

async fn project_search_after_rename_finds_new_name(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let row = amy.project("Apollo").await;
    amy.patch(&format!("/app/projects/{}", row["id"].as_str().unwrap()), json!({"name": "ÉLAN"})).await.expect(200);
    assert!(found(&amy, "apollo").await.is_empty());
    assert_eq!(found(&amy, "élan").await, ["ÉLAN"]);
}
