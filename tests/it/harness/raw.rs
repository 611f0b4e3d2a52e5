//! A TCP connection whose bytes the test writes itself.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Timeout of each step, generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a step; panics with its name if it takes too long.
pub async fn within<F: Future>(what: &str, step: F) -> F::Output {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

pub struct Raw {
    pub stream: TcpStream,
    /// Bytes that were read and belong to the next response.
    read: Vec<u8>,
}

/// The head of a response, in lower case.
pub struct Response {
    pub head: String,
}

impl Raw {
    pub async fn open(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes; the server may have closed.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        within("the server reads", self.stream.write_all(bytes)).await.is_ok()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes).await, "the server closed the connection");
    }

    /// Reads the next response, whose length must be known.
    pub async fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.more().await;
        }
        self.read.drain(..length);
        Response { head }
    }

    async fn more(&mut self) {
        let read = within("the server answers", self.stream.read_buf(&mut self.read)).await.unwrap();
        assert!(read > 0, "the server closed the connection after {:?}", String::from_utf8_lossy(&self.read));
    }

    /// Whether the server answers at all, instead of closing.
    pub async fn is_answered(&mut self) -> bool {
        within("the server answers or closes", self.stream.read_buf(&mut self.read)).await.is_ok_and(|read| read > 0)
    }

    /// Reads until the server closes; returns what it sent.
    pub async fn rest(mut self) -> Vec<u8> {
        // A reset is a close, too.
        let _ = within("the server closes", self.stream.read_to_end(&mut self.read)).await;
        self.read
    }
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head["http/1.1 ".len()..][..3].parse().unwrap()
    }

    pub fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}
