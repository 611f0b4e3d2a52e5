//! Job administration: list, filter, retry and cancel.

use http::Method;
use omnistack::app::App;
use omnistack::app::jobs::model::Status;
use omnistack::app::jobs::{Job, JobId, New};
use omnistack::features::emails::SendPasswordResetEmail;
use serde_json::{Value, json};

use crate::harness::functions::{Act, Way, runs};
use crate::harness::{Backend, Client, TestApp};

crate::on_both_backends![
    job_list_default_is_newest_first_with_total,
    job_list_by_status_returns_matching_jobs,
    job_list_invalid_parameter_returns_422,
    job_views_in_every_status_have_exact_members,
    job_secret_argument_is_masked_in_all_views,
    job_failed_shows_reason_as_result,
    job_unknown_id_returns_404,
    retry_failed_or_cancelled_job_creates_new_job,
    retry_unfinished_or_succeeded_job_returns_400,
    retry_while_first_retry_is_queued_returns_400,
    cancel_queued_job_prevents_execution,
    cancel_running_job_stops_it,
    cancel_finished_job_returns_400,
    job_routes_without_admin_role_return_403_or_401,
    job_routes_with_redis_down_still_work,
];

/// Creates an administrator and empties the queue (deletes the welcome e-mail jobs).
async fn admin(t: &TestApp) -> Client {
    let admin = t.admin().await;
    t.sql("DELETE FROM jobs").await;
    admin
}

async fn enqueue(t: &TestApp, job: &impl Job<App>) -> JobId {
    t.app.jobs.enqueue(&t.app.db, job, New::default()).await.unwrap().unwrap()
}

/// Runs a job once in this process and returns its id.
async fn finished(t: &TestApp, way: &str) -> JobId {
    t.run_function("act", json!({"way": way})).await.unwrap().0
}

async fn waiting(t: &TestApp) -> JobId {
    enqueue(t, &Act::new(Way::Succeed)).await
}

async fn running(t: &TestApp) -> JobId {
    let id = waiting(t).await;
    let locked = "status = 'running', attempts = 1, locked_by = 'elsewhere/1', locked_until = '2999-01-01T00:00:00.000000+00:00'";
    t.sql(&format!("UPDATE jobs SET {locked} WHERE id = '{id}'")).await;
    id
}

async fn cancelled(t: &TestApp) -> JobId {
    let id = waiting(t).await;
    assert_eq!(t.app.jobs.cancel(&t.app.db, id).await.unwrap(), Status::Cancelled);
    id
}

/// Creates one job per status, in the order of [`Status::ALL`].
async fn one_of_each(t: &TestApp) -> Vec<JobId> {
    let later = New { delay: chrono::TimeDelta::minutes(5), ..New::default() };
    let deferred = t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), later).await.unwrap().unwrap();
    vec![deferred, waiting(t).await, running(t).await, finished(t, "Succeed").await, finished(t, "FailForGood").await, cancelled(t).await]
}

fn job_ids(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
}

fn members(value: &Value) -> String {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

async fn one(admin: &Client, id: JobId) -> Value {
    admin.get(&format!("/admin/jobs/{id}")).await.expect(200)
}

async fn status(admin: &Client, id: JobId) -> String {
    one(admin, id).await["status"].as_str().unwrap().to_owned()
}

async fn retry(admin: &Client, id: JobId) -> crate::harness::Reply {
    admin.call(Method::POST, &format!("/admin/jobs/{id}/retry")).await
}

/// Retries the job, expects success and returns the new job's id.
async fn retried(admin: &Client, id: JobId) -> JobId {
    let answer = retry(admin, id).await.expect(200);
    assert_eq!(members(&answer), "message new_job_id original_job_id");
    assert_eq!(answer["original_job_id"], id.to_string());
    let new = JobId::parse(answer["new_job_id"].as_str().unwrap()).unwrap();
    assert_ne!(new, id);
    new
}

async fn cancel(admin: &Client, id: JobId) -> crate::harness::Reply {
    admin.delete(&format!("/admin/jobs/{id}")).await
}

async fn job_list_default_is_newest_first_with_total(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    assert_eq!(admin.get("/admin/jobs").await.expect(200), json!({"jobs": [], "total": 0}));
    let mut expected = Vec::new();
    for _ in 0..53 {
        expected.insert(0, waiting(&t).await.to_string());
    }
    let page = admin.get("/admin/jobs").await.expect(200);
    assert_eq!((members(&page).as_str(), &page["total"]), ("jobs total", &json!(53)));
    assert_eq!(job_ids(&page), expected[..50]);
    for (query, shown) in [("limit=1", &expected[..1]), ("limit=100", &expected[..]), ("skip=50", &expected[50..]), ("skip=2&limit=3", &expected[2..5])] {
        let page = admin.get(&format!("/admin/jobs?{query}")).await.expect(200);
        assert_eq!((job_ids(&page).as_slice(), &page["total"]), (shown, &json!(53)), "{query}");
    }
    assert_eq!(admin.get("/admin/jobs?skip=53").await.expect(200), json!({"jobs": [], "total": 53}));
}

async fn job_list_by_status_returns_matching_jobs(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let ids = one_of_each(&t).await;
    for (wanted, id) in Status::ALL.map(Status::name).into_iter().zip(&ids) {
        let page = admin.get(&format!("/admin/jobs?status={wanted}")).await.expect(200);
        assert_eq!((job_ids(&page), &page["total"]), (vec![id.to_string()], &json!(1)), "{wanted}");
        assert_eq!(status(&admin, *id).await, wanted);
        let beyond = admin.get(&format!("/admin/jobs?status={wanted}&skip=7")).await.expect(200);
        assert_eq!(beyond, json!({"jobs": [], "total": 1}), "{wanted}");
    }
    t.clock.advance(chrono::TimeDelta::minutes(5));
    let page = admin.get("/admin/jobs?status=queued").await.expect(200);
    assert_eq!(job_ids(&page), [ids[1].to_string(), ids[0].to_string()], "the deferred job is due");
    assert_eq!(admin.get("/admin/jobs?status=deferred").await.expect(200)["total"], 0);
}

async fn job_list_invalid_parameter_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    for (name, bad) in [
        ("limit", &["0", "101", "-1", "x", ""][..]),
        ("skip", &["-1", "2147483648", "x"]),
        ("status", &["x", "", "Queued", "done", "running", "dead"]),
    ] {
        for value in bad {
            assert_eq!(admin.get("/admin/jobs").query(&[(name, value)]).await.expect_invalid(), [name], "{name}={value}");
        }
    }
    for good in ["limit=1", "limit=100", "skip=2147483647"] {
        admin.get(&format!("/admin/jobs?{good}")).await.expect(200);
    }
}

async fn job_views_in_every_status_have_exact_members(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let ids = one_of_each(&t).await;
    let page = admin.get("/admin/jobs").await.expect(200);
    for info in page["jobs"].as_array().unwrap() {
        assert_eq!(members(info), "args enqueue_time finish_time function job_id kwargs result start_time success");
        assert_eq!((&info["args"], &info["function"]), (&json!([]), &json!("act")));
        assert!(info["kwargs"]["way"].is_string() && info["enqueue_time"].is_string(), "{info}");
        let mut one = admin.get(&format!("/admin/jobs/{}", info["job_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(members(&one), "enqueue_time finish_time function job_id result start_time status success");
        one.as_object_mut().unwrap().remove("status");
        let mut info = info.clone();
        info.as_object_mut().unwrap().retain(|name, _| !["args", "kwargs"].contains(&name.as_str()));
        assert_eq!(one, info);
    }
    for (id, (started, ended, success)) in ids.iter().zip([
        (false, false, Value::Null),
        (false, false, Value::Null),
        (false, false, Value::Null),
        (true, true, json!(true)),
        (true, true, json!(false)),
        (false, true, Value::Null),
    ]) {
        let job = one(&admin, *id).await;
        assert_eq!((job["start_time"].is_string(), job["finish_time"].is_string(), &job["success"]), (started, ended, &success), "{job}");
    }
    assert_eq!(one(&admin, ids[3]).await["result"], json!({"attempt": 1}));
}

async fn job_secret_argument_is_masked_in_all_views(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let secret = || Some("hunter2".to_owned());
    enqueue(&t, &Act { way: Way::Succeed, password: secret() }).await;
    enqueue(&t, &Act { way: Way::FailForGood, password: secret() }).await;
    let unreadable = enqueue(&t, &Act { way: Way::Succeed, password: secret() }).await;
    let kwargs = json!({"way": "Succeed", "password": ["hunter2"]});
    t.sql(&format!("UPDATE jobs SET kwargs = '{kwargs}' WHERE id = '{unreadable}'")).await;
    let reset = SendPasswordResetEmail { email: "ada@example.test".to_owned(), reset_link: "https://app.test/?token=hunter2".to_owned() };
    let reset = enqueue(&t, &reset).await;
    for finished in [false, true] {
        let page = admin.get("/admin/jobs").await;
        assert!(!page.text().contains("hunter2"), "{}", page.text());
        let page = page.json();
        assert_eq!(page["jobs"][0]["kwargs"], json!({"email": "ada@example.test", "reset_link": "***"}));
        for job in &page["jobs"].as_array().unwrap()[1..] {
            assert_eq!(job["kwargs"]["password"], "***", "{job}");
        }
        for id in job_ids(&page) {
            let one = admin.get(&format!("/admin/jobs/{id}")).await.expect_text(200);
            assert!(!one.contains("hunter2"), "{one}");
        }
        if !finished {
            t.run_jobs().await;
        }
    }
    assert_eq!((status(&admin, unreadable).await.as_str(), status(&admin, reset).await.as_str()), ("failed", "complete"));
}

async fn job_failed_shows_reason_as_result(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    for (way, reason) in [("FailForGood", "never"), ("Fail", "boom")] {
        let job = one(&admin, finished(&t, way).await).await;
        assert_eq!((&job["status"], &job["success"], &job["result"]), (&json!("failed"), &json!(false), &json!(reason)));
    }
    // Between two attempts the job is deferred and already shows the last error.
    let id = enqueue(&t, &Act::new(Way::Fail)).await;
    t.run_jobs().await;
    let job = one(&admin, id).await;
    assert_eq!((&job["status"], &job["success"], &job["result"]), (&json!("deferred"), &Value::Null, &json!("boom")));
}

async fn job_unknown_id_returns_404(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let unknown = JobId::new().to_string();
    for (written, id) in [(unknown.as_str(), unknown.as_str()), ("x", "x"), ("0", "0"), ("%00", "\0"), ("a%20b", "a b"), ("%27%20OR%201=1", "' OR 1=1")] {
        let path = format!("/admin/jobs/{written}");
        for reply in [admin.get(&path).await, admin.call(Method::POST, &format!("{path}/retry")).await, admin.delete(&path).await] {
            assert_eq!(reply.expect_error(404, "NOT_FOUND"), json!({"resource": "Job", "id": id}));
        }
    }
}

async fn retry_failed_or_cancelled_job_creates_new_job(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let (failed, cancelled) = (finished(&t, "FailForGood").await, cancelled(&t).await);
    let again = [retried(&admin, failed).await, retried(&admin, cancelled).await];
    for id in again {
        assert_eq!(status(&admin, id).await, "queued");
    }
    t.run_jobs().await;
    assert_eq!((runs(again[0]).len(), runs(again[1]).len(), runs(cancelled).len()), (1, 1, 0));
    let ends = [failed, cancelled, again[0], again[1]];
    for (id, expected) in ends.into_iter().zip(["failed", "cancelled", "failed", "complete"]) {
        assert_eq!(status(&admin, id).await, expected);
    }
    assert_eq!(admin.get("/admin/jobs").await.expect(200)["total"], 4, "the original jobs are kept");
}

async fn retry_unfinished_or_succeeded_job_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let ids = one_of_each(&t).await;
    for id in &ids[..4] {
        retry(&admin, *id).await.expect_error(400, "BAD_REQUEST");
    }
    assert_eq!(admin.get("/admin/jobs").await.expect(200)["total"], 6, "no job was created");
}

async fn retry_while_first_retry_is_queued_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let id = finished(&t, "FailForGood").await;
    let first = retried(&admin, id).await;
    retry(&admin, id).await.expect_error(400, "BAD_REQUEST");
    t.run_jobs().await;
    let second = retried(&admin, id).await;
    assert_ne!(first, second, "a second retry is allowed after the first one has ended");
    // A job created by a retry can itself be retried.
    retried(&admin, first).await;
}

async fn cancel_queued_job_prevents_execution(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let (id, other) = (waiting(&t).await, waiting(&t).await);
    let answer = cancel(&admin, id).await.expect(200);
    assert_eq!(members(&answer), "message");
    assert_eq!(status(&admin, id).await, "cancelled");
    t.run_jobs().await;
    assert_eq!((runs(id).len(), runs(other).len()), (0, 1));
    assert_eq!((status(&admin, id).await.as_str(), status(&admin, other).await.as_str()), ("cancelled", "complete"));
}

async fn cancel_running_job_stops_it(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let elsewhere = running(&t).await;
    let answer = cancel(&admin, elsewhere).await.expect(200);
    assert_eq!(members(&answer), "message");
    assert_eq!(status(&admin, elsewhere).await, "in_progress", "until its worker handles the cancellation");
    t.sql("DELETE FROM jobs").await;

    let id = enqueue(&t, &Act::new(Way::NeverEnd)).await;
    let working = t.worker(t.settings());
    crate::harness::eventually("the job runs", async || !runs(id).is_empty()).await;
    cancel(&admin, id).await.expect(200);
    crate::harness::eventually("the job is cancelled", async || status(&admin, id).await == "cancelled").await;
    working.stop().await;
    assert_eq!(one(&admin, id).await["success"], Value::Null);
}

async fn cancel_finished_job_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    let ids = one_of_each(&t).await;
    for id in &ids[3..] {
        let before = one(&admin, *id).await;
        cancel(&admin, *id).await.expect_error(400, "BAD_REQUEST");
        assert_eq!(one(&admin, *id).await, before);
    }
}

async fn job_routes_without_admin_role_return_403_or_401(b: Backend) {
    let t = TestApp::start(b).await;
    let id = waiting(&t).await;
    let user = t.user("amy").await;
    for (method, path) in [
        (Method::GET, "/admin/jobs".to_owned()),
        (Method::GET, format!("/admin/jobs/{id}")),
        (Method::GET, "/admin/jobs/x".to_owned()),
        (Method::POST, format!("/admin/jobs/{id}/retry")),
        (Method::DELETE, format!("/admin/jobs/{id}")),
    ] {
        user.call(method.clone(), &path).await.expect_error(403, "AUTHORIZATION_ERROR");
        t.anonymous().call(method, &path).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(status(&t.admin().await, id).await, "queued");
    let superadmin = t.user_with_role("root", "superadmin").await;
    assert_eq!(status(&superadmin, id).await, "queued");
}

async fn job_routes_with_redis_down_still_work(b: Backend) {
    let t = TestApp::with(b, &[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    let admin = admin(&t).await;
    let (done, id) = (waiting(&t).await, finished(&t, "FailForGood").await);
    let again = retried(&admin, id).await;
    cancel(&admin, again).await.expect(200);
    t.run_jobs().await;
    let page = admin.get("/admin/jobs").await.expect(200);
    assert_eq!(job_ids(&page), [again, id, done].map(|id| id.to_string()));
    assert_eq!(status(&admin, done).await, "complete");
}
