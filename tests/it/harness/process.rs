//! The real binary as a process of its own: in an empty folder, with the variables that the test gives and no others.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Client;

/// No step of a process takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer; fails with `what` when it takes too long.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where the binary runs and what it is told. Several processes may share one place.
pub struct Place {
    folder: tempfile::TempDir,
    vars: Vec<(String, String)>,
}

/// What a command that ends by itself has left.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// An empty folder and no variables at all.
    pub fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), vars: Vec::new() }
    }

    /// An empty folder; the server takes any port that is free.
    pub fn new() -> Self {
        Self::bare().with("PORT", "0")
    }

    /// With a variable, in place of an earlier one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// The names of what lies in the folder.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnistack"));
        command.args(args).env_clear().envs(self.vars.iter().cloned()).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Outcome {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn serve(&self) -> Server {
        let mut server = self.spawn(&[]);
        server.url = until("the server is ready", async || {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended:\n{}", server.output());
            server.address()
        })
        .await;
        server
    }

    /// Starts a process without waiting for anything.
    pub fn spawn(&self, args: &[&str]) -> Server {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![collect(child.stdout.take().unwrap(), &output), collect(child.stderr.take().unwrap(), &output)];
        Server { child, url: String::new(), output, readers }
    }
}

impl Outcome {
    /// What a command printed that must succeed.
    #[track_caller]
    pub fn expect_ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// What a command said that must be refused.
    #[track_caller]
    pub fn expect_refusal(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        self.err
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    let into = into.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    })
}

/// A running process; killed when it is dropped.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`
    pub url: String,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Server {
    /// From the line that says `ready`, readable or JSON.
    fn address(&self) -> Option<String> {
        let output = self.output();
        let line = output.lines().find(|line| line.contains("ready") && line.contains("address"))?;
        let start = line.find("address")? + "address".len();
        let address = line[start..].trim_start_matches(['"', ':', '=']);
        let address = &address[..address.find(['"', ' ']).unwrap_or(address.len())];
        Some(format!("http://127.0.0.1:{}", address.rsplit_once(':')?.1))
    }

    pub fn client(&self, token: Option<String>) -> Client {
        Client::new(&self.url, token)
    }

    /// The administrator of a local installation, who has just logged in.
    pub async fn admin(&self, password: &str) -> Client {
        let body = json!({"email": "admin@localhost", "password": password});
        let reply = self.client(None).post("/public/auth/login", body).await;
        if reply.status != 200 {
            // The log is written a moment later.
            until("the log tells why", async || self.output().contains("status_code=").then_some(())).await;
            panic!("{}\n{}", reply.text(), self.output());
        }
        let session = reply.json();
        self.client(session["access_token"].as_str().map(str::to_owned))
    }

    /// Host and port, for connections of the test's own making.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Everything written so far, errors included.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "no process to signal:\n{}", self.output());
    }

    /// Waits for the end and for the last line of the output.
    pub async fn ended(&mut self) -> ExitStatus {
        let output = self.output.clone();
        let child = &mut self.child;
        let status = until("the process ends", async || child.try_wait().unwrap()).await;
        for reader in self.readers.drain(..) {
            tokio::task::spawn_blocking(move || reader.join()).await.unwrap().unwrap();
        }
        drop(output);
        status
    }

    /// Stops it in order; it must end with 0.
    pub async fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.output());
        self.output()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The password of the administrator whom the first start made.
pub fn banner_password(output: &str) -> String {
    let line = output.lines().skip_while(|line| line.trim() != "admin@localhost").nth(1);
    line.unwrap_or_else(|| panic!("no password in\n{output}")).trim().to_owned()
}

/// Permissions of a file, as `chmod` takes them.
pub fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}
