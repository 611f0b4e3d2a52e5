//! Runs the real binary as a child process, in a temporary folder and only with the variables of the test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::database::Database;
use super::{Client, SECRET};

/// Timeout for each step of a process, generous for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `ask` returns a value; panics with `what` after [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Folder and environment variables of the binary. Several processes may share a `Place`.
pub struct Place {
    folder: tempfile::TempDir,
    vars: Vec<(String, String)>,
}

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// An empty folder and no variables.
    pub fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), vars: Vec::new() }
    }

    /// An empty folder; the server listens on any free port.
    pub fn new() -> Self {
        Self::bare().with("PORT", "0")
    }

    /// A server of this database that knows the tokens of the tests' issuer, without limits.
    pub fn of(database: &Database) -> Self {
        Self::new()
            .with("DATABASE_URL", &database.url)
            .with("SECRET_KEY", "a-service-secret-for-tests-of-32-characters")
            .with("OAUTH_JWT_SECRET", SECRET)
            .with("RATE_LIMIT_DEFAULT", "1000000/minute")
            .with("PLAN_LIMITS_ENABLED", "false")
            .with("DB_POOL_SIZE", "4")
    }

    /// Sets a variable; replaces an earlier value.
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

    /// The names of the entries in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The umask is the usual one, under which others may read new files unless their mode forbids it.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 022; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_omnistack")]).args(args);
        command.env_clear().envs(self.vars.iter().cloned()).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a script of commands in the folder, with the same variables; returns what it printed.
    pub fn shell(&self, script: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("set -e\n{script}")]).env_clear().envs(self.vars.iter().cloned()).current_dir(self.folder.path());
        let output = shell.env("PATH", std::env::var("PATH").unwrap()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command and waits for its end.
    pub async fn run(&self, args: &[&str]) -> Outcome {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Outcome::of(output)
    }

    /// Runs a command with this text on its standard input, and waits for its end.
    pub async fn run_with(&self, args: &[&str], input: &str) -> Outcome {
        let (mut command, input) = (self.command(args), input.to_owned());
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // Fails where the command refuses its arguments before it reads.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        Outcome::of(output.await.unwrap())
    }

    /// Runs a command whose standard output is this file, and waits for its end.
    pub async fn run_into(&self, args: &[&str], output: Stdio) -> Outcome {
        let mut command = self.command(args);
        let child = command.stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        Outcome::of(tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap())
    }

    /// Starts the server and waits until it is ready.
    pub async fn serve(&self) -> Server {
        let mut server = self.spawn(&[]);
        server.url = until("the server is ready", async || {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended:\n{}", server.output());
            server.address()
        })
        .await;
        server
    }

    /// Starts a process without waiting.
    pub fn spawn(&self, args: &[&str]) -> Server {
        self.spawn_into(args, Stdio::piped())
    }

    /// As [`Place::spawn`], with this standard output.
    pub fn spawn_into(&self, args: &[&str], output: Stdio) -> Server {
        let mut child = self.command(args).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let mut readers = vec![collect(child.stderr.take().unwrap(), &output)];
        readers.extend(child.stdout.take().map(|stdout| collect(stdout, &output)));
        Server { child, url: String::new(), output, readers }
    }
}

impl Outcome {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Checks that the command succeeded and returns its standard output.
    #[track_caller]
    pub fn expect_ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Checks that the command failed with exit code 1 and returns its standard error.
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
    /// The URL from the `ready` log line, in text or JSON format.
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

    /// Logs in as the administrator of a local installation.
    pub async fn admin(&self, password: &str) -> Client {
        let body = json!({"email": "admin@localhost", "password": password});
        let reply = self.client(None).post("/public/auth/login", body).await;
        if reply.status != 200 {
            // The log line may follow the response.
            until("the request is logged", async || self.output().contains("status_code=").then_some(())).await;
            panic!("{}\n{}", reply.text(), self.output());
        }
        let session = reply.json();
        self.client(session["access_token"].as_str().map(str::to_owned))
    }

    /// Host and port, for raw connections.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Standard output and standard error so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal by its name: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "no process to signal:\n{}", self.output());
    }

    /// Waits until the process has ended and its output is complete.
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

    /// Stops the process gracefully, checks for exit code 0 and returns the output.
    pub async fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.output());
        self.output()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The administrator's password in the banner of the first start.
pub fn banner_password(output: &str) -> String {
    let line = output.lines().skip_while(|line| line.trim() != "admin@localhost").nth(1);
    line.unwrap_or_else(|| panic!("no password in\n{output}")).trim().to_owned()
}

/// Permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}
