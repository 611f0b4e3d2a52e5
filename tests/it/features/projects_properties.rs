//! Property tests of project lists: random projects, compared with an in-memory model.
//! Every way of paging must return each project once, in the order of the model.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Backend, Client, TestApp, ids};

crate::on_both_backends![
    skip_pages_of_random_projects_match_model,
    cursor_walk_of_random_projects_matches_model,
    cursor_walk_during_changes_returns_each_row_once,
];

/// Pieces of names and search texts, each with its case-folded form.
const PIECES: [(&str, &str); 15] = [
    ("a", "a"),
    ("A", "a"),
    ("b", "b"),
    ("É", "é"),
    ("é", "é"),
    ("e\u{301}", "é"),
    ("Σ", "σ"),
    ("σ", "σ"),
    ("ς", "σ"),
    ("ß", "ß"),
    ("🚀", "🚀"),
    ("%", "%"),
    ("_", "_"),
    (r"\", r"\"),
    ("'", "'"),
];

/// Text and its case-folded form.
type Text = (String, String);

fn text(pieces: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Text> {
    let piece = prop::sample::select(&PIECES[..]);
    prop::collection::vec(piece, pieces).prop_map(|pieces| pieces.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()).prop_map(|(text, folded)| (text.concat(), folded.concat()))
}

/// Expected project.
struct Row {
    id: String,
    folded: String,
    /// Creation time in microseconds after the first row.
    made: i64,
    body: Value,
}

/// Creates a user with projects. `true` beside a name advances the clock before the project is created.
async fn filled(t: &TestApp, names: &[(Text, bool)]) -> (Client, Vec<Row>) {
    let client = t.user(&uuid::Uuid::now_v7().to_string()).await;
    let (mut rows, mut made) = (Vec::new(), 0);
    for ((name, folded), later) in names {
        if *later {
            t.clock.advance(TimeDelta::microseconds(1));
            made += 1;
        }
        let body = client.project(name).await;
        rows.push(Row { id: body["id"].as_str().unwrap().to_owned(), folded: folded.clone(), made, body });
    }
    (client, rows)
}

/// Rows that the list must return, in order.
fn expected(mut rows: Vec<Row>, search: &Text) -> Vec<Value> {
    if search.0.is_empty() {
        rows.sort_by(|a, b| (b.made, &b.id).cmp(&(a.made, &a.id)));
    } else {
        rows.retain(|row| row.folded.contains(&search.1));
        rows.sort_by(|a, b| (&a.folded, &a.id).cmp(&(&b.folded, &b.id)));
    }
    rows.into_iter().map(|row| row.body).collect()
}

/// Runs the check on 24 random cases and shrinks a failing case.
fn for_all<S: Strategy, F: Future<Output = ()>>(strategy: &S, check: impl Fn(S::Value) -> F) {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let result = tokio::task::block_in_place(|| {
        runner.run(strategy, |case| {
            runtime.block_on(check(case));
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn skip_pages_of_random_projects_match_model(b: Backend) {
    let t = &TestApp::start(b).await;
    let names = prop::collection::vec((text(1..5), any::<bool>()), 0..14);
    for_all(&(names, text(0..3), 1..6_usize), |(names, search, limit)| async move {
        let (client, rows) = filled(t, &names).await;
        let expected = expected(rows, &search);
        for skip in (0..expected.len() + limit).step_by(limit) {
            let query = [("search", search.0.as_str()), ("limit", &limit.to_string()), ("skip", &skip.to_string())];
            let page = client.get("/app/projects").query(&query).await.expect(200);
            let items: Vec<_> = expected.iter().skip(skip).take(limit).collect();
            assert_eq!(page, json!({"items": items, "total": expected.len(), "skip": skip, "limit": limit}));
        }
    });
}

async fn cursor_walk_of_random_projects_matches_model(b: Backend) {
    let t = &TestApp::start(b).await;
    let names = prop::collection::vec((text(1..5), any::<bool>()), 0..14);
    for_all(&(names, text(0..3), 1..6_usize), |(names, search, limit)| async move {
        let (client, rows) = filled(t, &names).await;
        let walked = client.walk("/app/projects", &[("search", &search.0)], limit).await;
        assert_eq!(walked, expected(rows, &search));
    });
}

async fn cursor_walk_during_changes_returns_each_row_once(b: Backend) {
    let t = &TestApp::start(b).await;
    let names = prop::collection::vec((text(1..5), any::<bool>()), 1..12);
    // Rows deleted and rows created between two pages.
    let between = prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..2), prop::collection::vec(text(1..5), 0..2)), 12);
    for_all(&(names, between, text(0..2), 1..4_usize), |(names, between, search, limit)| async move {
        let (client, rows) = filled(t, &names).await;
        let known: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let expected = expected(rows, &search);
        let (mut seen, mut deleted, mut cursor) = (Vec::new(), Vec::new(), String::new());
        for (gone, come) in between.iter().cycle() {
            let query = [("search", search.0.as_str()), ("limit", &limit.to_string()), ("cursor", &cursor)];
            let page = client.get("/app/projects").query(&query).await.expect(200);
            seen.extend(ids(page["items"].as_array().unwrap()).into_iter().map(str::to_owned));
            let Some(next) = page["next_cursor"].as_str() else { break };
            next.clone_into(&mut cursor);
            for index in gone {
                let id = index.get(&known);
                if !deleted.contains(id) {
                    client.delete(&format!("/app/projects/{id}")).await.expect(204);
                    deleted.push(id.clone());
                }
            }
            // Limits the inserts because the walk by name would otherwise never end.
            for (name, _) in come.iter().take(usize::from(seen.len() < 12)) {
                client.project(name).await;
            }
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "no row is returned twice");
        let there_all_along = |id: &&str| !deleted.iter().any(|gone| gone == id);
        let seen: Vec<_> = seen.iter().map(String::as_str).filter(|id| known.iter().any(|known| known == id)).filter(there_all_along).collect();
        assert_eq!(seen, ids(&expected).into_iter().filter(there_all_along).collect::<Vec<_>>(), "no row is skipped");
    });
}
