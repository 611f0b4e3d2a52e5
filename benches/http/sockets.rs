//! `--sockets`: ten thousand WebSockets on one instance. Their memory, one message to all of them, a thousand publishers at once,
//! and waves of clients that all come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::report::{mebibytes, millis};
use crate::servers::{Role, Server, Site};
use crate::token;

const SOCKETS: usize = 10_000;
/// Sockets of one user.
const OF_USER: usize = 5;
/// Sockets that are opened at the same time.
const OPENING: usize = 256;
const SUBSCRIBERS: usize = 100;
const PUBLISHERS: usize = 1000;
/// Channels that the publishers share.
const CHANNELS: usize = 50;
/// Messages of one publisher.
const MESSAGES: usize = 3;
const WAVES: usize = 10;
/// Maximum wait for a frame.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(site: &mut Site) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    // All sockets come from one address, as behind a proxy.
    let server = Server::start_with(site, Role::Ours, &database, &[("TRUSTED_PROXIES", "127.0.0.1".to_owned())]).await?;
    let tokens: Vec<_> = (0..SOCKETS / OF_USER).map(|user| token(&format!("socket-{user}"))).collect::<Result<_>>()?;
    let tokens = Arc::new(tokens);
    // The first wave creates the users, which costs more than sockets do.
    drop(wave(server.address, &tokens).await?);
    tokio::time::sleep(Duration::from_secs(3)).await;

    println!("\n{}: {SOCKETS} sockets of {} users", site.engine.name(), tokens.len());
    let idle = server.resident();
    println!("RSS without a socket {} MiB", mebibytes(idle));
    let (mut sockets, took) = timed(wave(server.address, &tokens)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("opened in {:.2} s, RSS {} MiB, {}", took.as_secs_f64(), mebibytes(server.resident()), growth(idle, server.resident()));

    sockets = subscribe_all(sockets, "room:all").await?;
    println!("all subscribed to one channel, RSS {} MiB", mebibytes(server.resident()));
    for _ in 0..5 {
        let (open, last) = publish_to_all(sockets).await?;
        sockets = open;
        println!("one message reached the last of {} sockets after {:.0} ms", SOCKETS - OF_USER, millis(last));
    }
    sockets = storm(sockets).await?;
    println!("RSS {} MiB", mebibytes(server.resident()));
    drop(sockets);
    for number in 1..=WAVES {
        let (open, took) = timed(wave(server.address, &tokens)).await?;
        println!("wave {number:>2}: {SOCKETS} sockets in {:.2} s, RSS {} MiB", took.as_secs_f64(), mebibytes(server.resident()));
        drop(open);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("RSS 5 s after the last wave {} MiB, peak {} MiB", mebibytes(server.resident()), mebibytes(server.peak()));
    Ok(true)
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let started = Instant::now();
    Ok((work.await?, started.elapsed()))
}

fn growth(before: Option<f64>, after: Option<f64>) -> String {
    let Some(bytes) = before.zip(after).map(|(before, after)| (after - before) * 1024.0) else { return "no /proc".to_owned() };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let each = bytes / SOCKETS as f64;
    format!("{:.0} MiB more, {each:.1} KiB for each socket", bytes / 1024.0)
}

/// Opens every socket.
async fn wave(address: SocketAddr, tokens: &Arc<Vec<String>>) -> Result<Vec<Socket>> {
    let turns = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for number in 0..SOCKETS {
        let (turns, tokens) = (turns.clone(), tokens.clone());
        opening.spawn(async move {
            let _turn = turns.acquire().await?;
            let user = number / OF_USER;
            let token = tokens.get(user).context("a token for each user")?;
            Ok::<_, anyhow::Error>((number, Socket::open(address, token).await?))
        });
    }
    let mut sockets: Vec<_> = opening.join_all().await.into_iter().collect::<Result<_>>()?;
    sockets.sort_by_key(|(number, _)| *number);
    Ok(sockets.into_iter().map(|(_, socket)| socket).collect())
}

/// Subscribes every socket.
async fn subscribe_all(sockets: Vec<Socket>, channel: &'static str) -> Result<Vec<Socket>> {
    let mut tasks = JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move {
            socket.subscribe(channel).await?;
            Ok::<_, anyhow::Error>(socket)
        });
    }
    tasks.join_all().await.into_iter().collect()
}

/// Sends one message; returns the time after which the last of the other users' sockets had it.
async fn publish_to_all(mut sockets: Vec<Socket>) -> Result<(Vec<Socket>, Duration)> {
    let user = sockets.first().context("there are sockets")?.user.clone();
    let (mut own, others): (Vec<_>, Vec<_>) = sockets.drain(..).partition(|socket| socket.user == user);
    let mut reading = JoinSet::new();
    for mut socket in others {
        reading.spawn(async move {
            socket.message().await?;
            Ok::<_, anyhow::Error>((socket, Instant::now()))
        });
    }
    tokio::task::yield_now().await;
    let started = Instant::now();
    own.first_mut().context("the sender")?.send(r#"{"type":"message","channel":"room:all","data":"to all"}"#).await?;
    let read: Vec<_> = reading.join_all().await.into_iter().collect::<Result<_>>()?;
    let last = read.iter().map(|(_, at)| at.duration_since(started)).max().unwrap_or_default();
    own.extend(read.into_iter().map(|(socket, _)| socket));
    Ok((own, last))
}

/// A thousand publishers send at once, on some channels; a hundred subscribers of other users must get every message.
async fn storm(mut sockets: Vec<Socket>) -> Result<Vec<Socket>> {
    sockets.sort_by(|a, b| a.user.cmp(&b.user));
    let rest = sockets.split_off(SUBSCRIBERS + PUBLISHERS);
    let ready = Arc::new(Barrier::new(sockets.len()));
    let mut tasks = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let ready = ready.clone();
        tasks.spawn(async move {
            let publisher = number.checked_sub(SUBSCRIBERS);
            let own = publisher.map_or(0..CHANNELS, |publisher| publisher % CHANNELS..publisher % CHANNELS + 1);
            for channel in own {
                socket.subscribe(&format!("storm:{channel}")).await?;
            }
            ready.wait().await;
            let started = Instant::now();
            let mut expected = PUBLISHERS * MESSAGES;
            if let Some(publisher) = publisher {
                let frame = format!(r#"{{"type":"message","channel":"storm:{}","data":"from many"}}"#, publisher % CHANNELS);
                for _ in 0..MESSAGES {
                    socket.send(&frame).await?;
                }
                // Those of the other publishers of the channel, who are other users.
                expected = (PUBLISHERS / CHANNELS - 1) * MESSAGES;
            }
            for _ in 0..expected {
                socket.message().await?;
            }
            Ok::<_, anyhow::Error>((socket, started.elapsed()))
        });
    }
    let open: Vec<_> = tasks.join_all().await.into_iter().collect::<Result<_>>()?;
    let last = open.iter().map(|(_, took)| *took).max().unwrap_or_default();
    println!(
        "{PUBLISHERS} publishers sent {} messages at once to {SUBSCRIBERS} subscribers: none lost, the last after {:.2} s",
        PUBLISHERS * MESSAGES,
        last.as_secs_f64()
    );
    Ok(open.into_iter().map(|(socket, _)| socket).chain(rest).collect())
}

/// A client that knows as much of RFC 6455 as it needs.
struct Socket {
    stream: BufReader<TcpStream>,
    user: String,
}

impl Socket {
    async fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /api/v1/app/ws?token={token} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut socket = Self { stream: BufReader::with_capacity(1024, stream), user: String::new() };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, socket.stream.read_u8()).await??);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let connected: serde_json::Value = serde_json::from_str(&socket.next().await?)?;
        ensure!(connected["type"] == "connected", "{connected}");
        connected["data"]["user_id"].as_str().unwrap_or_default().clone_into(&mut socket.user);
        Ok(socket)
    }

    async fn subscribe(&mut self, channel: &str) -> Result<()> {
        self.send(&format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#)).await?;
        let reply = self.next().await?;
        ensure!(reply.contains(r#""type":"subscribed""#), "{reply}");
        Ok(())
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).context("a short frame")?;
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.get_mut().write_all(&frame).await?;
        Ok(())
    }

    /// Reads a message of another user.
    async fn message(&mut self) -> Result<()> {
        let frame = self.next().await?;
        ensure!(frame.contains(r#""type":"message""#), "{frame}");
        Ok(())
    }

    /// Reads a text; answers pings before it.
    async fn next(&mut self) -> Result<String> {
        loop {
            let (kind, length) =
                timeout(PATIENCE, async { Ok::<_, anyhow::Error>((self.stream.read_u8().await?, self.stream.read_u8().await?)) }).await??;
            let length = if length == 126 { self.stream.read_u16().await?.into() } else { usize::from(length) };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await?;
            match kind {
                0x81 => return Ok(String::from_utf8(payload)?),
                0x89 => self.stream.get_mut().write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?,
                _ => bail!("frame {kind:#x}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }
}
