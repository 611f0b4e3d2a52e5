//! A WebSocket client that knows as much of RFC 6455 as its tests need: short frames.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Socket(TcpStream);

impl Socket {
    /// Opens a socket; fails unless the server upgrades.
    pub async fn open(url: &str, path: &str) -> Self {
        let authority = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(authority).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("x-request-id"), "{head}");
        Self(stream)
    }

    /// Reads one frame: its first byte and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let kind = self.0.read_u8().await.unwrap();
        let length = self.0.read_u8().await.unwrap();
        assert!(length < 126, "a short frame");
        let mut payload = vec![0; length.into()];
        self.0.read_exact(&mut payload).await.unwrap();
        (kind, payload)
    }

    /// The code with which the server closes.
    pub async fn close_code(&mut self) -> u16 {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, 0x88, "a close frame");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Sends a text and returns the answer.
    pub async fn echo(&mut self, text: &str) -> String {
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, 0x81, "a text frame");
        String::from_utf8(payload).unwrap()
    }
}
