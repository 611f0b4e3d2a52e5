//! A batch whose commit was never answered is stored again, and counts once.

use std::time::Duration;

use omnistack::features::usage::service::flush::flush;
use omnistack::platform::usage::Metric::FileUploads;

use super::{fresh, record, stored};
use crate::harness::{Backend, TestApp, eventually};

/// Sets the commit of a batch up to take a second on the server.
const SLOW_COMMIT: [&str; 2] = [
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON usage_batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_whose_commit_is_never_answered_counts_once() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (t, proxy) = TestApp::behind_proxy(&[]).await;
    fresh(&t, "amy").await;
    // Reaches the database without the proxy.
    let other = t.second(&[]).await;
    for sql in SLOW_COMMIT {
        other.sql(sql).await;
    }
    record(&t, "amy", FileUploads, 3, "file_type:x/y");
    let app = t.app.clone();
    let flushing = tokio::spawn(async move { flush(&app).await });
    let committing = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("the commit is on its way", async || other.number(committing).await == 1).await;
    proxy.cut();
    flushing.await.unwrap().unwrap_err();
    let counted = "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) FROM usage_records WHERE metric = 'file_uploads' AND period_type = 'daily'";
    eventually("the server commits all the same", async || other.number(counted).await == 3).await;
    other.sql("DROP TRIGGER slow ON usage_batches").await;
    proxy.mend();
    eventually("the database is back", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        flush(&t.app).await.is_ok()
    })
    .await;
    record(&t, "amy", FileUploads, 2, "file_type:x/y");
    stored(&t).await;
    assert_eq!(other.number(counted).await, 5, "3 once, and the 2 after it");
}
