//! Load driver: HTTP/1.1 keep-alive on plain TCP, with a fixed number of connections and one request in flight on each.
//!
//! It parses only the status and `Content-Length` of a response, so that one driver core can saturate one server core. The load
//! is closed-loop: a connection sends its next request after the response. The results show the throughput of a saturated server,
//! not the queueing delay of an open load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Maximum wait for responses after the planned end of a load.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the bytes of one request, built once and sent many times.
pub fn request(method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    use std::fmt::Write;

    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    // Writing to a String cannot fail.
    if let Some(token) = token {
        let _ = write!(text, "Authorization: Bearer {token}\r\n");
    }
    if let Some(body) = body {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

/// A response; its body borrows the connection's buffer.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 16 * 1024] })
    }

    /// Sends the request and reads the whole response.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut head: Option<Head> = None;
        let (status, from, to) = loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the connection was closed within an answer");
            filled += read;
            if head.is_none() {
                head = Head::parse(&self.buffer[..filled])?;
            }
            if let Some(Head { status, length, body }) = head
                && filled >= length + body
            {
                ensure!(filled == length + body, "more bytes came than Content-Length announced");
                break (status, length, filled);
            }
        };
        Ok(Answer { status, body: &self.buffer[from..to] })
    }
}

/// Parsed response head: the status, and the lengths of head and body in bytes.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    length: usize,
    body: usize,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        const LENGTH: &[u8] = b"content-length:";

        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let status = first.get(9..12).and_then(number).context("an answer without a status line")?;
        let stated = lines
            .find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)))
            .map(|line| number(line[LENGTH.len()..].trim_ascii()).context("Content-Length is not a number"))
            .transpose()?;
        let body = match stated {
            Some(body) => body,
            None if status == 204 || status == 304 => 0,
            None => bail!("an answer with status {status} and without Content-Length"),
        };
        let status = u16::try_from(status)?;
        Ok(Some(Self { status, length: end + 4, body }))
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Sends one request on a new connection; returns status and body.
pub async fn call(address: SocketAddr, request: &[u8]) -> Result<(u16, Vec<u8>)> {
    let exchange = async {
        let mut connection = Connection::open(address).await?;
        let answer = connection.send(request).await?;
        anyhow::Ok((answer.status, answer.body.to_vec()))
    };
    timeout(PATIENCE, exchange).await.context("no answer in time")?
}

/// Same as [`call`], but requires a 2xx status and a JSON body.
pub async fn call_json(address: SocketAddr, request: &[u8]) -> Result<serde_json::Value> {
    let (status, body) = call(address, request).await?;
    let asked = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default());
    ensure!((200..300).contains(&status), "{asked} was answered with {status}: {}", excerpt(&body));
    serde_json::from_slice(&body).with_context(|| format!("{asked} was not answered with JSON"))
}

/// Returns the first 300 bytes of a body for an error message.
pub fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

/// Number of connections and duration of a load.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Requests in this time are not counted: caches and the branch predictor warm up.
    pub warm_up: Duration,
    pub length: Duration,
}

/// Results of one load, or the sum of several.
#[derive(Default)]
pub struct Tally {
    pub latencies: Histogram,
    /// Number of responses that were not 2xx, and the first of them.
    pub refused: u64,
    pub first_refusal: Option<String>,
    /// Number of connections that failed during a request.
    pub broken: u64,
}

impl Tally {
    pub fn note_refusal(&mut self, answer: &Answer<'_>) {
        self.refused += 1;
        if self.first_refusal.is_none() {
            self.first_refusal = Some(format!("{} {}", answer.status, excerpt(answer.body)));
        }
    }

    pub fn note_break(&mut self, error: &anyhow::Error) {
        self.broken += 1;
        if self.first_refusal.is_none() {
            self.first_refusal = Some(format!("{error:#}"));
        }
    }

    pub fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        self.refused += other.refused;
        self.broken += other.broken;
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
    }
}

/// Sends one request repeatedly on every connection. Errors if the server is gone.
pub async fn drive(address: SocketAddr, load: Load, request: Vec<u8>) -> Result<Tally> {
    let request: Arc<[u8]> = request.into();
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        connections.push(Connection::open(address).await?);
    }
    let from = Instant::now() + load.warm_up;
    let to = from + load.length;
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(repeat(connection, address, Arc::clone(&request), from, to));
    }
    gather(tasks, load.warm_up + load.length).await
}

async fn repeat(mut connection: Connection, address: SocketAddr, request: Arc<[u8]>, from: Instant, to: Instant) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut asked = Instant::now();
    while asked < to {
        match connection.send(&request).await {
            Ok(answer) => {
                let answered = Instant::now();
                if !answer.is_success() {
                    tally.note_refusal(&answer);
                }
                if answered > from && answered <= to {
                    tally.latencies.record(answered - asked);
                }
                asked = answered;
            }
            Err(error) => {
                tally.note_break(&error);
                connection = Connection::open(address).await?;
                asked = Instant::now();
            }
        }
    }
    Ok(tally)
}

/// Sums the results of the connections' tasks. Errors if a task does not end soon after `planned`.
pub async fn gather(mut tasks: JoinSet<Result<Tally>>, planned: Duration) -> Result<Tally> {
    let all = async {
        let mut sum = Tally::default();
        while let Some(ended) = tasks.join_next().await {
            sum.add(ended??);
        }
        anyhow::Ok(sum)
    };
    timeout(planned + PATIENCE, all).await.map_err(|_| anyhow!("a request was not answered within {PATIENCE:?}"))?
}

/// Latency histogram with logarithmic buckets: 128 per power of two, error below 1 %.
#[derive(Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Buckets per power of two, as a power of two.
    const FINENESS: u32 = 7;

    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = Self::bucket(nanos);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns a latency quantile; `per_mille` 990 is the 99th percentile.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(Self::middle(bucket));
            }
        }
        Duration::ZERO
    }

    pub fn add(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    fn bucket(nanos: u64) -> usize {
        let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(Self::FINENESS + 1);
        let bucket = (u64::from(shift) << Self::FINENESS) + (nanos >> shift);
        usize::try_from(bucket).unwrap_or(usize::MAX)
    }

    fn middle(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        let shift = (bucket >> Self::FINENESS).saturating_sub(1);
        let low = (bucket - (shift << Self::FINENESS)) << shift;
        low + ((1 << shift) >> 1)
    }
}
