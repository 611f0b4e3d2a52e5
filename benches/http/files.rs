//! Large files: cost of upload and download compared with an axum handler that streams to a file and syncs it, memory use, and
//! the effect of many slow uploads on other requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use crate::driver::{Connection, call, call_json, drive, excerpt, request};
use crate::report::{Failures, count, mebibytes, median, millis};
use crate::servers::{Role, Server, Site};
use crate::{ME, Options, settle_in, token};

const SIZE: usize = 100 << 20;
const FILES: &str = "/api/v1/app/files";
/// Number of concurrent slow uploads, each at 64 KiB/s.
const SLOW: u32 = 100;
/// Declared size of a slow upload: longer than a round, and all of them within the limit of pending uploads.
const SLOW_SIZE: usize = 8 << 20;
static PIECE: [u8; 16 * 1024] = [0x5a; 16 * 1024];
const PAUSE: Duration = Duration::from_millis(250);

/// Durations of every round in seconds.
#[derive(Default)]
struct Seconds {
    up: Vec<f64>,
    down: Vec<f64>,
}

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let database = site.database(Role::Floor).await?;
    let mut floor = Server::start(site, Role::Floor, &database).await?;
    let database = site.database(Role::Ours).await?;
    let mut ours = Server::start(site, Role::Ours, &database).await?;
    let token = token(crate::SUBJECT)?;
    settle_in(ours.address, &token, 1).await?;

    let bytes = vec![0x5a; SIZE];
    let (mut bare, mut full) = (Seconds::default(), Seconds::default());
    let before = ours.resident();
    // The first round warms up buffers and the page cache and is not counted.
    for round in 0..=options.rounds {
        eprintln!("{}: round {round} of {} (files)", site.engine.name(), options.rounds);
        let sample = round_of_floor(floor.address, &bytes).await;
        floor.check()?;
        note(&mut bare, sample?, round);
        let sample = round_of_ours(ours.address, &token, &bytes).await;
        ours.check()?;
        note(&mut full, sample?, round);
    }
    let peak = ours.peak();

    let rate = |seconds: &[f64]| count(SIZE as u64 >> 20) / median(seconds.iter().copied());
    println!("\n{}: one file of {} MiB, medians of {} rounds\n", site.engine.name(), SIZE >> 20, options.rounds);
    println!("{:<8}{:>14}{:>14}{:>8}", "", "floor MiB/s", "ours MiB/s", "ratio");
    for (name, bare, full) in [("up", &bare.up, &full.up), ("down", &bare.down, &full.down)] {
        println!("{name:<8}{:>14.0}{:>14.0}{:>8.2}", rate(bare), rate(full), rate(full) / rate(bare));
    }
    println!("\nRSS before {} MiB, at its peak {} MiB", mebibytes(before), mebibytes(peak));
    drop(floor);
    beside_slow_uploads(site, &mut ours, &token, options).await
}

fn note(seconds: &mut Seconds, (up, down): (f64, f64), round: u64) {
    if round > 0 {
        seconds.up.push(up);
        seconds.down.push(down);
    }
}

async fn round_of_floor(address: SocketAddr, bytes: &[u8]) -> Result<(f64, f64)> {
    let path = "/files/1";
    Ok((send(address, path, bytes).await?, fetch(address, path).await?))
}

async fn round_of_ours(address: SocketAddr, token: &str, bytes: &[u8]) -> Result<(f64, f64)> {
    let (id, path) = ask(address, token, bytes.len()).await?;
    let up = send(address, &path, bytes).await?;
    let confirm = json!({"file_id": id}).to_string();
    call_json(address, &request("POST", &format!("{FILES}/confirm"), Some(token), Some(&confirm))).await?;
    let link = call_json(address, &request("GET", &format!("{FILES}/{id}/download-url"), Some(token), None)).await?;
    let down = fetch(address, &path_of(&link["download_url"])?).await?;
    delete(address, token, &id).await?;
    Ok((up, down))
}

async fn delete(address: SocketAddr, token: &str, id: &str) -> Result<()> {
    let (status, body) = call(address, &request("DELETE", &format!("{FILES}/{id}"), Some(token), None)).await?;
    ensure!(status == 204, "a delete was answered with {status}: {}", excerpt(&body));
    Ok(())
}

/// Requests an upload; returns the file's id and the upload path.
async fn ask(address: SocketAddr, token: &str, size: usize) -> Result<(String, String)> {
    let wanted = json!({"filename": "large.bin", "content_type": "application/octet-stream", "size": size}).to_string();
    let asked = call_json(address, &request("POST", &format!("{FILES}/upload-url"), Some(token), Some(&wanted))).await?;
    Ok((asked["file_id"].as_str().context("an upload without an id")?.to_owned(), path_of(&asked["upload_url"])?))
}

fn path_of(link: &Value) -> Result<String> {
    Ok(Url::parse(link.as_str().context("an answer without a link")?)?.path().to_owned())
}

fn head(path: &str, size: usize) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n")
}

/// Uploads the bytes; returns the seconds from the first byte to the response.
async fn send(address: SocketAddr, path: &str, bytes: &[u8]) -> Result<f64> {
    let mut whole = head(path, bytes.len()).into_bytes();
    whole.extend_from_slice(bytes);
    let mut connection = Connection::open(address).await?;
    let started = Instant::now();
    let answer = connection.send(&whole).await?;
    ensure!(answer.is_success(), "an upload was answered with {}: {}", answer.status, excerpt(answer.body));
    Ok(started.elapsed().as_secs_f64())
}

async fn fetch(address: SocketAddr, path: &str) -> Result<f64> {
    let asked = request("GET", path, None, None);
    let mut connection = Connection::open(address).await?;
    let started = Instant::now();
    let answer = connection.send(&asked).await?;
    let taken = started.elapsed();
    ensure!(
        answer.is_success() && answer.body.len() == SIZE,
        "a download was answered with {}, {} bytes",
        answer.status,
        answer.body.len()
    );
    Ok(taken.as_secs_f64())
}

/// Measures the latency of other requests without and with slow uploads, alternating.
async fn beside_slow_uploads(site: &Site, ours: &mut Server, token: &str, options: &Options) -> Result<bool> {
    let ours_at = ours.address;
    let (load, me) = (options.load(), request("GET", ME, Some(token), None));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut failures = Failures::default();
    for round in 0..options.rounds {
        eprintln!("{}: round {} of {} (slow uploads)", site.engine.name(), round + 1, options.rounds);
        for slow in [false, true] {
            let (mut uploads, mut pending) = (JoinSet::new(), Vec::new());
            for number in 0..if slow { SLOW } else { 0 } {
                let (id, path) = ask(ours.address, token, SLOW_SIZE).await?;
                pending.push(id);
                // Staggered, because real clients do not send in step.
                let offset = PAUSE * number / SLOW;
                uploads.spawn(async move {
                    tokio::time::sleep(offset).await;
                    trickle(ours_at, path).await
                });
            }
            let outcome = drive(ours.address, load, me.clone()).await;
            ours.check()?;
            let tally = outcome?;
            failures.note(&tally);
            ensure!(uploads.try_join_next().is_none(), "a slow upload ended early");
            let figures = (millis(tally.latencies.quantile(500)), millis(tally.latencies.quantile(990)));
            if slow { &mut beside } else { &mut alone }.push(figures);
            // Aborts the uploads and their connections; the server discards the partial files.
            uploads.shutdown().await;
            for id in pending {
                delete(ours.address, token, &id).await?;
            }
        }
    }
    let p50 = |all: &[(f64, f64)]| median(all.iter().map(|figures| figures.0));
    let p99 = |all: &[(f64, f64)]| median(all.iter().map(|figures| figures.1));
    println!("\nusers/me, {} connections, alone and beside {SLOW} uploads of {} KiB/s\n", load.connections, PIECE.len() / 1024 * 4);
    println!("{:<8}{:>9}{:>9}", "", "p50 ms", "p99 ms");
    println!("{:<8}{:>9.3}{:>9.3}", "alone", p50(&alone), p99(&alone));
    println!("{:<8}{:>9.3}{:>9.3}", "beside", p50(&beside), p99(&beside));
    println!("{:<8}{:>9.2}{:>9.2}", "ratio", p50(&beside) / p50(&alone), p99(&beside) / p99(&alone));
    println!("\nRSS at its peak {} MiB", mebibytes(ours.peak()));
    failures.tell("slow uploads");
    Ok(failures.none())
}

/// Sends an upload in small pieces until it is aborted.
async fn trickle(address: SocketAddr, path: String) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head(&path, SLOW_SIZE).as_bytes()).await?;
    for _ in 0..SLOW_SIZE / PIECE.len() {
        stream.write_all(&PIECE).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
