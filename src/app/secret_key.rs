//! The secret of a local installation: made at the first start, kept in `DATA_DIR`.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use secrecy::SecretString;

use crate::platform::{crypto, private_files};

/// Reads `secret_key` in the folder, or creates it (mode 0600). Processes that start at once all get the same key. Blocking:
/// call only at startup.
pub fn load_or_create(folder: &Path) -> anyhow::Result<SecretString> {
    let path = folder.join("secret_key");
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    private_files::create_folder(folder).with_context(|| format!("cannot create DATA_DIR {}", folder.display()))?;
    let hex = crypto::hex(&crypto::random::<32>()?);
    // Written completely under a temporary name, then linked: no process reads a partial key, and the link fails if another
    // process was first.
    let draft = folder.join(format!(".secret_key.{}", uuid::Uuid::now_v7()));
    let mut file = private_files::create_file(&draft).context("cannot write to DATA_DIR")?;
    file.write_all(hex.as_bytes()).and_then(|()| file.sync_all()).context("cannot write to DATA_DIR")?;
    let linked = std::fs::hard_link(&draft, &path);
    std::fs::remove_file(&draft).ok();
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context("cannot create secret_key in DATA_DIR");
        }
        _ => {}
    }
    read(&path)?.context("secret_key vanished from DATA_DIR")
}

fn read(path: &Path) -> anyhow::Result<Option<SecretString>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().chars().count() >= 32 => Ok(Some(SecretString::from(text.trim()))),
        Ok(_) => anyhow::bail!("{} is too short to be a secret: delete it to get a new one", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn secret_key_concurrent_first_starts_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create(&path).unwrap().expose_secret().to_owned())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0] && secret.len() == 64));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("secret_key"))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }
}
