//! Developer mailbox: a copy of every sent mail, as a file in a folder. Several processes may share it. Errors are logged as
//! warnings and never prevent sending.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::message::{Email, Sent};
use crate::platform::{crypto, private_files};
use crate::providers::ProviderError;
use crate::providers::email::address;

/// Maximum number of mails; the oldest are removed.
const KEPT: usize = 200;
/// Maximum number of bytes read from a file.
const LARGEST: u64 = 8 << 20;
/// Age after which an incomplete file is considered abandoned.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A copy of a mail, with the result of sending it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    pub id: String,
    pub at: DateTime<Utc>,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub html: String,
    pub text: String,
    pub template: Option<String>,
    pub provider: String,
    /// The vendor's message id. If this and `error` are both `None`, the mail is being sent or its sender has crashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Kept {
    /// Whether the result is still unknown.
    pub fn is_open(&self) -> bool {
        self.message_id.is_none() && self.error.is_none()
    }
}

/// The mailbox folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailbox(PathBuf);

impl Mailbox {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Stores a copy of a mail before it is sent; [`Self::note`] adds the result. Replaces a copy with the same key.
    pub async fn keep(&self, mail: &Email, at: DateTime<Utc>, provider: &str) -> Option<Kept> {
        let unique = match &mail.key {
            Some(key) => Ok(crypto::hash(&[b"mailbox", key.as_bytes(), mail.to.as_bytes()])[..8].to_vec()),
            None => crypto::random::<8>().map(|bytes| bytes.to_vec()),
        };
        let unique = unique.inspect_err(|error| tracing::warn!(%error, "a mail is not kept in the mailbox")).ok()?;
        let kept = Kept {
            id: format!("{}-{}", at.format("%Y%m%dT%H%M%S%6f"), crypto::hex(&unique)),
            at,
            from: address::shown(&mail.from),
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            html: mail.html.clone(),
            text: mail.text.clone(),
            template: mail.template.clone(),
            provider: provider.to_owned(),
            message_id: None,
            error: None,
        };
        self.write(kept.clone()).await;
        Some(kept)
    }

    /// Adds the result of sending to the copy.
    pub async fn note(&self, mut kept: Kept, sent: &Result<Sent, ProviderError>) {
        match sent {
            Ok(sent) => kept.message_id = Some(sent.message_id.clone()),
            Err(error) => kept.error = Some(error.to_string()),
        }
        self.write(kept).await;
    }

    async fn write(&self, kept: Kept) {
        let folder = self.0.clone();
        let written = tokio::task::spawn_blocking(move || write(&folder, &kept)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(%error, "a mail is not kept in the mailbox");
        }
    }

    /// Returns all mails, newest first. Skips files that cannot be read.
    pub async fn list(&self) -> Vec<Kept> {
        let folder = self.0.clone();
        let all = move || ids(&folder).iter().rev().take(KEPT).filter_map(|id| read(&folder, id)).collect();
        tokio::task::spawn_blocking(all).await.unwrap_or_default()
    }

    pub async fn get(&self, id: &str) -> Option<Kept> {
        if !is_id(id) {
            return None;
        }
        let (folder, id) = (self.0.clone(), id.to_owned());
        tokio::task::spawn_blocking(move || read(&folder, &id)).await.ok().flatten()
    }
}

/// Time and a unique suffix: `20260102T030405123456-0123456789abcdef`.
fn is_id(id: &str) -> bool {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let Some((day, rest)) = id.split_once('T') else { return false };
    let Some((time, unique)) = rest.split_once('-') else { return false };
    let hex = unique.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    digits(day, 8) && digits(time, 12) && unique.len() == 16 && hex
}

/// Returns the ids of all files, oldest first; none if the folder does not exist.
fn ids(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).filter(|id| is_id(id)).collect();
    ids.sort_unstable();
    ids
}

fn read(folder: &Path, id: &str) -> Option<Kept> {
    let mut text = Vec::new();
    let file = fs::File::open(folder.join(format!("{id}.json"))).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    let kept = file.ok().and_then(|_| serde_json::from_slice::<Kept>(&text).ok()).filter(|kept| kept.id == id);
    if kept.is_none() {
        tracing::warn!(id, "a mail in the mailbox cannot be read");
    }
    kept
}

fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    private_files::create_folder(folder)?;
    // Renamed only when complete, so that readers never see a partial mail.
    let draft = folder.join(format!(".{}.{}.draft", kept.id, uuid::Uuid::now_v7()));
    let written = private_files::create_file(&draft).and_then(|mut file| {
        file.write_all(&serde_json::to_vec(kept)?)?;
        fs::rename(&draft, folder.join(format!("{}.json", kept.id)))
    });
    if written.is_err() {
        fs::remove_file(&draft).ok();
    }
    tidy(folder, &kept.id);
    written
}

/// Removes earlier copies of the mail, mails above the limit and abandoned drafts. Another process may have removed them first.
fn tidy(folder: &Path, id: &str) {
    let unique = id.split_once('-').map_or("", |(_, unique)| unique);
    let (earlier, others): (Vec<_>, Vec<_>) = ids(folder).into_iter().partition(|other| other != id && other.ends_with(unique));
    let old = &others[..others.len().saturating_sub(KEPT)];
    for id in earlier.iter().chain(old) {
        fs::remove_file(folder.join(format!("{id}.json"))).ok();
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let abandoned = || entry.metadata().and_then(|data| data.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED));
        if entry.file_name().to_string_lossy().ends_with(".draft") && abandoned() {
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chrono::TimeDelta;

    use super::*;
    use crate::providers::email::message::Sender;

    fn mail(to: &str, key: Option<&str>) -> Email {
        Email {
            from: Sender { name: "App".to_owned(), address: "app@example.com".to_owned() },
            to: to.to_owned(),
            subject: "Hello".to_owned(),
            html: "<p>Hi</p>".to_owned(),
            text: "Hi".to_owned(),
            key: key.map(str::to_owned),
            template: None,
        }
    }

    fn place() -> (tempfile::TempDir, PathBuf, Mailbox) {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("data/mailbox");
        (data, folder.clone(), Mailbox::new(folder))
    }

    #[tokio::test]
    async fn mailbox_lists_newest_first_with_private_files() {
        let (_data, folder, mailbox) = place();
        assert!(mailbox.list().await.is_empty());
        let start = DateTime::UNIX_EPOCH;
        mailbox.keep(&mail("first@example.com", None), start, "console").await;
        let second = mailbox.keep(&mail("second@example.com", None), start + TimeDelta::microseconds(1), "console").await;
        mailbox.note(second.unwrap(), &Err(ProviderError::Rejected("no".to_owned()))).await;
        let all = mailbox.list().await;
        assert_eq!(all.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["second@example.com", "first@example.com"]);
        assert_eq!((all[0].error.as_deref(), all[1].error.as_deref()), (Some("no"), None));
        assert_eq!(mailbox.get(&all[1].id).await.unwrap().to, "first@example.com");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }

    #[tokio::test]
    async fn mailbox_repeated_mail_is_listed_once() {
        let (_data, _folder, mailbox) = place();
        for minute in 0..3 {
            let at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
            mailbox.keep(&mail("a@example.com", Some("job-1")), at, "console").await;
            mailbox.keep(&mail("b@example.com", Some("job-1")), at, "console").await;
        }
        let all = mailbox.list().await;
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|mail| mail.at == DateTime::UNIX_EPOCH + TimeDelta::minutes(2)));
    }

    #[tokio::test]
    async fn mailbox_drops_oldest_and_skips_broken_files() {
        let (_data, folder, mailbox) = place();
        for n in 0..205 {
            mailbox.keep(&mail(&format!("n{n}@example.com"), None), DateTime::UNIX_EPOCH + TimeDelta::seconds(n), "console").await;
        }
        let all = mailbox.list().await;
        assert_eq!((all.len(), all[0].to.as_str(), all[199].to.as_str()), (200, "n204@example.com", "n5@example.com"));
        fs::write(folder.join(format!("{}.json", all[0].id)), "{").unwrap();
        fs::write(folder.join("notes.json"), "{}").unwrap();
        assert_eq!(mailbox.list().await.len(), 199);
        assert!(mailbox.get(&all[0].id).await.is_none());
    }

    #[tokio::test]
    async fn mailbox_get_ignores_foreign_ids() {
        let (data, _folder, mailbox) = place();
        fs::write(data.path().join("secret.json"), "{}").unwrap();
        let long = "0".repeat(300);
        for id in ["", "../../secret", "20260101T000000000000-0123456789abcdeF", "20260101T000000000000-../../secret", long.as_str()] {
            assert!(mailbox.get(id).await.is_none(), "{id}");
        }
    }

    #[tokio::test]
    async fn mailbox_unusable_folder_lists_nothing() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("file"), "").unwrap();
        let mailbox = Mailbox::new(data.path().join("file/mailbox"));
        mailbox.keep(&mail("a@example.com", None), DateTime::UNIX_EPOCH, "console").await;
        assert!(mailbox.list().await.is_empty());
    }
}
