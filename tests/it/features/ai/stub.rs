//! Stub server of an AI vendor: HTTP/1.1 on plain TCP, so that a test decides about every byte, every pause and every kind of end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

/// Send and receive buffers of a connection: small, so that back-pressure is seen after few bytes.
const SOCKET_BUFFER: u32 = 16 * 1024;

/// A received request, and what became of its connection.
#[derive(Clone)]
pub struct Asked {
    pub method: String,
    /// Path with query, as sent.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
    pub at: Instant,
    /// Bytes of the answer that the client's side took.
    pub sent: usize,
    /// When the client closed the connection before the answer was complete.
    pub closed: Option<Instant>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Whether a stream is asked for: Gemini says it in the path, the others in the body.
    pub fn is_streamed(&self) -> bool {
        self.body["stream"] == true || self.path.contains(":streamGenerateContent")
    }

    /// Text of the request's last message, of whichever vendor.
    pub fn prompt(&self) -> &str {
        let last = |list: &str| self.body[list].as_array().and_then(|list| list.last());
        let text = match (last("messages"), last("contents")) {
            (Some(message), _) => &message["content"],
            (_, Some(content)) => &content["parts"][0]["text"],
            _ => &Value::Null,
        };
        text.as_str().or_else(|| text[0]["text"].as_str()).unwrap_or_default()
    }
}

/// One step of an answer.
#[derive(Clone)]
pub enum Step {
    /// Bytes as they go on the wire.
    Raw(Bytes),
    /// One chunk of the chunked coding.
    Chunk(Bytes),
    Pause(Duration),
    /// Waits until the test opens the gate.
    Gate(Arc<Notify>),
    /// Sends nothing, until the client leaves.
    Hang,
    /// Sends the chunk again and again with a pause, until the client leaves.
    Forever(Bytes, Duration),
    /// Ends the chunked coding. The connection can be used again.
    End,
    /// Closes the connection. It is also closed at the end of a script without [`Step::End`].
    Close,
}

/// An answer, step by step.
#[derive(Clone, Default)]
pub struct Script(pub Vec<Step>);

impl Script {
    /// A complete answer.
    pub fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::answer_with(status, &[("content-type", content_type)], body)
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::answer(status, "application/json", body.to_string())
    }

    pub fn answer_with(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers: Vec<_> = [("transfer-encoding", "chunked")].iter().chain(headers).copied().collect();
        Self(vec![Step::Raw(head(status, &headers)), Step::Chunk(body.into()), Step::End])
    }

    /// The head of an event stream; the pieces follow.
    pub fn stream() -> Self {
        let headers = [("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked")];
        Self(vec![Step::Raw(head(200, &headers))])
    }

    /// A complete event stream in one piece.
    pub fn events(text: impl Into<Bytes>) -> Self {
        Self::stream().piece(text).then(Step::End)
    }

    /// A head with a length that the body does not reach.
    pub fn short_of_length(content_type: &str, body: &str) -> Self {
        let length = (body.len() + 100).to_string();
        let head = head(200, &[("content-type", content_type), ("content-length", &length)]);
        Self(vec![Step::Raw(head), Step::Raw(Bytes::copy_from_slice(body.as_bytes())), Step::Close])
    }

    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    pub fn piece(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Chunk(bytes.into()))
    }

    pub fn pause(self, millis: u64) -> Self {
        self.then(Step::Pause(Duration::from_millis(millis)))
    }

    /// No byte at all.
    pub fn hang() -> Self {
        Self(vec![Step::Hang])
    }

    /// The connection is closed without an answer.
    pub fn cut() -> Self {
        Self(vec![Step::Close])
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Bytes {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers.iter().chain(&[("", "")]) {
        let separator = if name.is_empty() { "" } else { ": " };
        text.extend([name, separator, value, "\r\n"]);
    }
    text.into()
}

type Answers = dyn Fn(&Asked) -> Script + Send + Sync;

struct State {
    answers: Mutex<Arc<Answers>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running stub. Its address serves all three vendors, whose paths differ.
#[derive(Clone)]
pub struct Stub {
    pub url: String,
    state: Arc<State>,
}

impl Stub {
    /// A stub that answers each request with this script.
    pub fn start(script: Script) -> Self {
        Self::by(move |_| script.clone())
    }

    /// A stub whose answer depends on the request.
    pub fn by(answers: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State { answers: Mutex::new(Arc::new(answers)), asked: Mutex::default() });
        let stub = Self { url, state: state.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        stub
    }

    /// Answers further requests with this script.
    pub fn answer(&self, script: Script) {
        self.answer_by(move |_| script.clone());
    }

    /// Answers further requests with these scripts, in order; the last one repeats.
    pub fn answers(&self, scripts: impl IntoIterator<Item = Script>) {
        let scripts = Mutex::new(scripts.into_iter().collect::<VecDeque<_>>());
        self.answer_by(move |_| {
            let mut scripts = scripts.lock().unwrap();
            if scripts.len() > 1 { scripts.pop_front().unwrap() } else { scripts[0].clone() }
        });
    }

    pub fn answer_by(&self, answers: impl Fn(&Asked) -> Script + Send + Sync + 'static) {
        *self.state.answers.lock().unwrap() = Arc::new(answers);
    }

    /// All requests so far, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Asked {
        let [asked] = self.asked().try_into().unwrap_or_else(|asked: Vec<Asked>| panic!("{} requests instead of one", asked.len()));
        asked
    }

    pub fn calls(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }
}

/// Serves the requests of one connection.
async fn serve(stream: TcpStream, state: Arc<State>) {
    let (mut read, mut write) = stream.into_split();
    let mut rest = Vec::new();
    while let Some(asked) = request(&mut read, &mut rest).await {
        let answers = state.answers.lock().unwrap().clone();
        let script = answers(&asked);
        let place = {
            let mut list = state.asked.lock().unwrap();
            list.push(asked);
            list.len() - 1
        };
        let note = |sent: usize| state.asked.lock().unwrap()[place].sent += sent;
        let mut byte = [0];
        tokio::select! {
            reusable = play(&mut write, script.0, note) => if reusable { continue } else { return },
            // A client that waits for an answer sends nothing more: it can only close.
            _ = read.read(&mut byte) => state.asked.lock().unwrap()[place].closed = Some(Instant::now()),
        }
        return;
    }
}

/// Reads a request with a known length; `None` where the client closes.
async fn request(read: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(at) = rest.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        if read.read_buf(rest).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = rest.drain(..end).collect();
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.trim().parse().unwrap()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    while rest.len() < length {
        if read.read_buf(rest).await.ok()? == 0 {
            return None;
        }
    }
    let body: Vec<u8> = rest.drain(..length).collect();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Asked { method, path, headers, body, at: Instant::now(), sent: 0, closed: None })
}

/// Plays an answer; returns whether the connection can be used again.
async fn play(write: &mut OwnedWriteHalf, steps: Vec<Step>, mut note: impl FnMut(usize)) -> bool {
    for step in steps {
        let written = match step {
            Step::Raw(bytes) => send(write, &bytes, &mut note).await,
            Step::Chunk(bytes) => send(write, &chunk(&bytes), &mut note).await,
            Step::Pause(pause) => {
                tokio::time::sleep(pause).await;
                Some(())
            }
            Step::Gate(gate) => {
                gate.notified().await;
                Some(())
            }
            Step::Hang => std::future::pending().await,
            Step::Forever(bytes, pause) => loop {
                if send(write, &chunk(&bytes), &mut note).await.is_none() {
                    // The reader notices the close.
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(pause).await;
            },
            Step::End => return send(write, b"0\r\n\r\n", &mut note).await.is_some(),
            Step::Close => return false,
        };
        if written.is_none() {
            std::future::pending::<()>().await;
        }
    }
    false
}

/// Writes in small parts, so that what the client's side took is known while it is slow.
async fn send(write: &mut OwnedWriteHalf, bytes: &[u8], note: &mut impl FnMut(usize)) -> Option<()> {
    for part in bytes.chunks(SOCKET_BUFFER as usize) {
        write.write_all(part).await.ok()?;
        note(part.len());
    }
    write.flush().await.ok()
}

/// A chunk of the chunked coding; an empty one would end the body.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
