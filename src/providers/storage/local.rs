//! Storage in a local folder. The server signs the requests itself, and receives and sends the bytes.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::fs;
use tokio::io::AsyncReadExt;

use super::local_store::{Local, Permission, Refused, Use, failed};
use super::object::{Method, NewObject, PRESIGN_TTL, SigningContext, StoredObject, Upload};
use super::provider::StorageProvider;
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};

pub(super) static VENDOR: Vendor<dyn StorageProvider> = Vendor { name: "local", read: |env| Arc::new(Settings::read(env)) };

#[derive(Debug, Clone)]
struct Settings {
    folder: PathBuf,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        Self { folder: env.var("LOCAL_STORAGE_DIR", "local: folder of the files").or(PathBuf::from("./storage")) }
    }
}

impl VendorSettings<dyn StorageProvider> for Settings {
    fn check(&self, env: &mut Env) {
        if env.environment().is_production() {
            env.warning(
                "STORAGE_PROVIDER",
                "is `local`: files are on this machine alone, and lost with it",
                "Choose a store that all instances share, or keep the folder on a volume that is backed up",
            );
        }
    }

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        Ok(Arc::new(Local::new(self.folder.clone(), &outside.keys)))
    }
}

#[async_trait]
impl StorageProvider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn local(&self) -> Option<&Local> {
        Some(self)
    }

    async fn presign_upload(&self, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        let token = self.sign(&Permission {
            method: Use::Upload,
            key: object.key.clone(),
            content_type: object.content_type.clone(),
            size: object.size,
            filename: String::new(),
            expires: (context.now + PRESIGN_TTL).timestamp(),
        })?;
        Ok(Upload { url: format!("{}{token}", context.upload_base), method: Method::Put, fields: None })
    }

    async fn presign_download(&self, object: &StoredObject, context: SigningContext<'_>) -> Result<String, ProviderError> {
        let token = self.sign(&Permission {
            method: Use::Download,
            key: object.key.clone(),
            content_type: object.content_type.clone(),
            size: 0,
            filename: object.filename.clone(),
            expires: (context.now + PRESIGN_TTL).timestamp(),
        })?;
        Ok(format!("{}{token}", context.download_base))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        match fs::metadata(self.path(key)?).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &error)),
        }
    }

    async fn read_prefix(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        let file = fs::File::open(self.path(key)?).await.map_err(|error| failed("read", &error))?;
        let mut start = Vec::new();
        file.take(bytes as u64).read_to_end(&mut start).await.map_err(|error| failed("read", &error))?;
        Ok(start)
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        let permission = Permission {
            method: Use::Upload,
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            size: bytes.len() as u64,
            filename: String::new(),
            expires: 0,
        };
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(bytes))]);
        match self.receive(&permission, body).await {
            Ok(received) => received.keep().await?.settle().await,
            Err(Refused::Store(error)) => Err(error),
            Err(Refused::Busy) => {
                Err(ProviderError::Transient { message: "local: the object is being written already".to_owned(), retry_after: None })
            }
            Err(_) => Err(ProviderError::Rejected("local: nothing to write".to_owned())),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        let path = self.path(key)?;
        match fs::remove_file(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("delete", &error)),
        }
        // The folder was made for this one object; it fails where another one lies there after all.
        if let Some(folder) = path.parent().filter(|folder| *folder != self.folder()) {
            let _ = fs::remove_dir(folder).await;
        }
        Ok(())
    }
}
