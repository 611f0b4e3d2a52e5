//! Stub of an AI vendor: chat completions in `OpenAI`'s protocol over plain TCP, with the times of its own work in each answer.
//!
//! It runs in the driver's process, so that client and stub read the same clock. A piece of text is `<nanoseconds>`, the time when
//! it was written; a whole answer is `<read><written>`, the times when the request was read and the answer written.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the nanoseconds since the first call.
pub fn now() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What the stub does with each request.
#[derive(Clone, Copy)]
pub struct Script {
    /// Time before an answer, or the first piece of a stream.
    pub think: Duration,
    pub pieces: u32,
    /// Time between two pieces.
    pub pause: Duration,
}

/// A running stub; stopped on drop.
pub struct Vendor {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Vendor {
    pub async fn start(script: Script) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An error is a client that left: the client's own count of failures shows whether it should have.
                tokio::spawn(async move { serve(stream, script).await.ok() });
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, script: Script) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(body) = read_request(&mut stream, &mut buffer).await? {
        let read = now();
        if body.is_empty() {
            // The list of models, which the server may ask for when it starts.
            answer(&mut stream, r#"{"object":"list","data":[]}"#).await?;
        } else if body.windows(STREAMED.len()).any(|part| part == STREAMED) {
            send_pieces(&mut stream, script).await?;
        } else {
            tokio::time::sleep(script.think).await;
            answer(&mut stream, &completion(read)).await?;
        }
    }
    Ok(())
}

const STREAMED: &[u8] = br#""stream":true"#;

/// Reads one request and returns its body; `None` if the client closed the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
            let length = match head.lines().find_map(|line| line.strip_prefix("content-length:")) {
                Some(length) => length.trim().parse().context("Content-Length is not a number")?,
                None => 0,
            };
            let from = end + 4;
            if buffer.len() >= from + length {
                let body = buffer[from..from + length].to_vec();
                buffer.drain(..from + length);
                return Ok(Some(body));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(stream: &mut TcpStream, body: &str) -> Result<()> {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Ok(stream.write_all(text.as_bytes()).await?)
}

fn completion(read: u64) -> String {
    format!(
        r#"{{"id":"bench","object":"chat.completion","created":1,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"<{read}><{}>"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}}}"#,
        now()
    )
}

async fn send_pieces(stream: &mut TcpStream, script: Script) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    tokio::time::sleep(script.think).await;
    for _ in 0..script.pieces {
        send_event(stream, &format!(r#"[{{"index":0,"delta":{{"content":"<{}>"}},"finish_reason":null}}]"#, now()), "").await?;
        tokio::time::sleep(script.pause).await;
    }
    send_event(stream, r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#, "").await?;
    send_event(stream, "[]", r#","usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#).await?;
    Ok(stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?)
}

/// Sends one event as a chunk of its own, in one write.
async fn send_event(stream: &mut TcpStream, choices: &str, rest: &str) -> Result<()> {
    let event = format!(
        "data: {{\"id\":\"bench\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":{choices}{rest}}}\n\n"
    );
    Ok(stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?)
}
