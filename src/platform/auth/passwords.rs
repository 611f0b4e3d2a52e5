//! Password hashes: argon2id (RFC 9106) as PHC strings, and estimates of a password's strength, computed on dedicated threads.
//!
//! A hash deliberately takes tens of milliseconds and about 19 MiB. The threads are one fewer than the cores (at least one)
//! and their queue is bounded, so a flood of log-ins costs a fixed amount of memory, is refused with 503 beyond that, and
//! leaves a core for other requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::oneshot;

use super::strength;
use crate::platform::config::{Env, Section};
use crate::platform::crypto;
use crate::platform::error::{Error, Result};

/// Maximum number of queued hashes per thread: about two seconds of work.
const QUEUE: usize = 64;
/// `Retry-After` in seconds when the queue is full.
const RETRY_AFTER: u64 = 2;

/// Cost of a hash. The defaults are OWASP's argon2id parameters with the least memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    pub memory_kib: u32,
    pub iterations: u32,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        Self {
            memory_kib: env.var("AUTH_ARGON2_MEMORY_KIB", "local: Argon2id memory in KiB, 8 to 1048576").checked(
                19_456,
                |n| (8..=1 << 20).contains(n),
                "from 8 to 1048576",
            ),
            iterations: env.var("AUTH_ARGON2_ITERATIONS", "local: Argon2id iterations, 1 to 100; hashes are upgraded at login").checked(
                2,
                |n| (1..=100).contains(n),
                "from 1 to 100",
            ),
        }
    }
}

impl Config {
    /// Returns whether the cost reaches one of OWASP's pairs of memory and iterations
    /// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
    pub(super) fn is_strong(self) -> bool {
        [(7 * 1024, 5), (19 * 1024, 2)].iter().any(|(memory, iterations)| self.memory_kib >= *memory && self.iterations >= *iterations)
    }
}

/// The outcome of comparing a password with a hash.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    /// `renewed` is a new hash if the stored one was made at another cost.
    Right {
        renewed: Option<String>,
    },
}

type Task = Box<dyn FnOnce() + Send>;

/// Makes and compares hashes.
pub struct Passwords {
    queue: SyncSender<Task>,
    params: Params,
    /// PHC string that no password matches. It is checked for unknown users, so that response times do not reveal which users
    /// exist.
    nobody: String,
}

impl Passwords {
    /// Starts the threads; they end when the value is dropped.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1);
        Self::with(config, threads, QUEUE * threads)
    }

    fn with(config: Config, threads: usize, queue: usize) -> anyhow::Result<Self> {
        let params = Params::new(config.memory_kib, config.iterations, 1, None).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        let (queue, tasks) = sync_channel(queue);
        let tasks = Arc::new(Mutex::new(tasks));
        for n in 0..threads {
            let tasks = tasks.clone();
            std::thread::Builder::new().name(format!("passwords-{n}")).spawn(move || run(&tasks)).context("starting a thread")?;
        }
        let (salt, hash) = (STANDARD_NO_PAD.encode(crypto::random::<16>()?), STANDARD_NO_PAD.encode(crypto::random::<32>()?));
        let nobody = format!("$argon2id$v=19$m={},t={},p=1${salt}${hash}", params.m_cost(), params.t_cost());
        Ok(Self { queue, params, nobody })
    }

    /// Hashes a password with a fresh salt; returns a PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        let argon2 = self.argon2();
        self.run(move || hash(&argon2, &password)).await
    }

    /// Compares a password with a PHC string. `None` takes as long as a real hash and is always [`Verdict::Wrong`].
    pub async fn verify(&self, password: String, hash_of: Option<String>) -> Result<Verdict> {
        let (argon2, params) = (self.argon2(), self.params.clone());
        let phc = hash_of.unwrap_or_else(|| self.nobody.clone());
        self.run(move || {
            let known = PasswordHash::new(&phc).map_err(|error| anyhow::anyhow!("a stored hash is no PHC string: {error}"))?;
            if argon2.verify_password(password.as_bytes(), &known).is_err() {
                return Ok(Verdict::Wrong);
            }
            let same_cost = known.algorithm == Algorithm::Argon2id.ident() && is_same_cost(&known, &params);
            let renewed = if same_cost { None } else { Some(hash(&argon2, &password)?) };
            Ok(Verdict::Right { renewed })
        })
        .await
    }

    /// Returns whether the password withstands fewer than 10^6 guesses of an attacker who knows `words`.
    pub async fn is_guessable(&self, password: String, words: Vec<String>) -> Result<bool> {
        self.run(move || Ok(strength::is_guessable(&password, &words))).await
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    /// Runs `work` on one of the threads; fails with 503 if the queue is full. Skips `work` if the caller has gone before it
    /// starts.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let task: Task = Box::new(move || {
            if !answer.is_closed() {
                // Fails only if the request has ended meanwhile.
                let _ = answer.send(work());
            }
        });
        match self.queue.try_send(task) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Error::Unavailable { message: "Too many log-ins at once", retry_after: Some(RETRY_AFTER) });
            }
            Err(TrySendError::Disconnected(_)) => return Err(anyhow::anyhow!("the threads of the passwords have ended").into()),
        }
        Ok(answered.await.context("a password could not be hashed")??)
    }
}

fn run(tasks: &Mutex<Receiver<Task>>) {
    loop {
        let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { return };
        // A panic drops the task's sender, which fails its request; the thread continues with the next task.
        let _ = catch_unwind(AssertUnwindSafe(task));
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> anyhow::Result<String> {
    let hash = argon2.hash_password(password.as_bytes()).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(hash.to_string())
}

fn is_same_cost(known: &PasswordHash, params: &Params) -> bool {
    Params::try_from(known)
        .is_ok_and(|known| (known.m_cost(), known.t_cost(), known.p_cost()) == (params.m_cost(), params.t_cost(), params.p_cost()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Config = Config { memory_kib: 8, iterations: 1 };

    #[tokio::test]
    async fn password_verify_accepts_only_the_right_one() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse".to_owned()).await.unwrap(), "each has its salt");
        let verify = async |password: &str, hash: Option<&String>| passwords.verify(password.to_owned(), hash.cloned()).await.unwrap();
        assert_eq!(verify("correct horse", Some(&hash)).await, Verdict::Right { renewed: None });
        assert_eq!(verify("Correct horse", Some(&hash)).await, Verdict::Wrong);
        assert_eq!(verify("correct horse", None).await, Verdict::Wrong);
        assert!(passwords.verify(String::new(), Some("md5:abc".to_owned())).await.is_err());
    }

    #[tokio::test]
    async fn password_hash_with_other_cost_is_renewed() {
        let old = Passwords::new(CHEAP).unwrap().hash("correct horse".to_owned()).await.unwrap();
        let passwords = Passwords::new(Config { memory_kib: 16, iterations: 2 }).unwrap();
        let verdict = passwords.verify("correct horse".to_owned(), Some(old.clone())).await.unwrap();
        let Verdict::Right { renewed: Some(new) } = verdict else { panic!("{verdict:?}") };
        assert!(new.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{new}");
        assert_eq!(passwords.verify("correct horse".to_owned(), Some(new)).await.unwrap(), Verdict::Right { renewed: None });
        assert_eq!(passwords.verify("wrong horse".to_owned(), Some(old)).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn password_queue_full_refuses_and_skips_dropped_work() {
        let passwords = Passwords::with(CHEAP, 1, 1).unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = passwords.run(move || {
            started.send(())?;
            Ok(released.recv()?)
        });
        let (ran, has_ended) = std::sync::mpsc::channel();
        let waiting = passwords.run(move || Ok(ran.send(())?));
        let (mut busy, mut waiting) = (Box::pin(busy), Box::pin(waiting));
        assert!(futures_util::poll!(&mut busy).is_pending());
        has_started.recv().unwrap();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let refused = passwords.run(|| Ok(())).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.retry_after()), (503, Some(RETRY_AFTER)));
        drop(waiting);
        release.send(()).unwrap();
        busy.await.unwrap();
        // An abandoned task drops its sender when it leaves the queue; only then is there room again.
        assert!(has_ended.recv().is_err(), "it was left out");
        let failed = passwords.run::<()>(|| panic!("kaboom")).await.unwrap_err();
        assert_eq!(failed.status().as_u16(), 500);
        assert!(passwords.hash("still there".to_owned()).await.is_ok());
    }
}
