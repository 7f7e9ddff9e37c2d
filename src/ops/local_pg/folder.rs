//! The data folder: where things lie in it, who owns it, and what is remembered between starts.
//!
//! ```text
//! owner.lock               held by the program that runs the server; names its process
//! postgres/                the cluster
//! postgres.password        the superuser's password, mode 0600
//! gateway.password         that of the gateway's role, mode 0600; set anew at every start
//! postgres-startup.log     what the server said before its own log began
//! run/                     the Unix socket
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};

use super::endpoint::Credentials;
use super::settings;
use super::unprivileged::{self, Unprivileged};
use crate::ops::Failure;

/// How long a lock may stay taken before it counts as somebody else's: a look at it takes it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

const UNFINISHED: &str = "postgres.unfinished-";

/// A data folder, where it really lies.
#[derive(Clone, Debug)]
pub(super) struct DataFolder {
    pub root: PathBuf,
    /// Who PostgreSQL runs as, when not as ourselves.
    pub user: Option<Unprivileged>,
}

/// Proof that this process owns the folder, for as long as it lives.
#[derive(Debug)]
pub(super) struct OwnerLock {
    _file: File,
}

/// Whether a file holds a password that this program made: letters and digits, which nobody has to quote.
pub(super) fn is_password(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a cluster lies in the data folder `root`.
pub(super) fn has_data(root: &Path) -> bool {
    root.join("postgres").symlink_metadata().is_ok()
}

impl DataFolder {
    /// The folder that `data_dir` stands for.
    pub(super) fn locate(data_dir: &Path) -> Result<DataFolder, Failure> {
        Ok(DataFolder { root: unprivileged::reachable_data(data_dir)?, user: unprivileged::user() })
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// A place for a cluster that is being made; it becomes [`DataFolder::cluster`] by a rename. Another one each time:
    /// an initdb that outlived its killed program may still write into the one before.
    pub(super) fn unfinished_cluster(&self) -> PathBuf {
        self.root.join(format!("{UNFINISHED}{:08x}", rand::random::<u32>()))
    }

    /// Removes clusters that were never finished. The caller owns the folder.
    pub(super) fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                // What cannot be removed now is in nobody's way and tried again at the next start.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.root.join("postgres.password")
    }

    pub(super) fn startup_log(&self) -> PathBuf {
        self.root.join("postgres-startup.log")
    }

    pub(super) fn socket_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Makes the folder and what the server needs beside its cluster.
    pub(super) fn create(&self) -> Result<(), Failure> {
        let failed = || Failure::while_doing(format!("making the data folder {}", self.root.display()));
        unprivileged::create_open_dir(&self.root).map_err(failed())?;
        self.create_private_dir(&self.socket_dir()).map_err(failed())
    }

    /// Removes sockets and their lock files of before. The owner does this while no server runs: a lock file that
    /// names a reused process id would keep the next one from starting.
    pub(super) fn clear_socket_dir(&self) {
        for entry in fs::read_dir(self.socket_dir()).into_iter().flatten().flatten() {
            // What stays is reported by the server, if it minds.
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Makes a folder that only PostgreSQL's user may look into.
    pub(super) fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        let folder = unprivileged::open_folder(path, self.user)?;
        folder.set_permissions(fs::Permissions::from_mode(0o700))?;
        unprivileged::give(&folder, self.user)
    }

    /// Becomes the owner, or says who is.
    pub(super) async fn lock(&self) -> Result<OwnerLock, Failure> {
        let failed = |error: io::Error| Failure::new(format!("locking {}: {error}", self.root.display()));
        let deadline = Instant::now() + LOCK_PATIENCE;
        let mut file = self.open_lock().map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let owner = fs::read_to_string(self.lock_file()).unwrap_or_default();
                    let message = format!("the data in {} is in use by process {}", self.root.display(), owner.trim());
                    return Err(Failure::new(message)
                        .hint("Stop that program, or give this one a data folder of its own (RAGBOARD_DATA_DIR)."));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(OwnerLock { _file: file })
    }

    /// Whether some process owns the folder now.
    pub(super) fn is_owned(&self) -> Result<bool, Failure> {
        if !self.lock_file().exists() {
            return Ok(false);
        }
        let failed = |error: io::Error| Failure::new(format!("looking at {}: {error}", self.root.display()));
        match self.open_lock().map_err(failed)?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("owner.lock")
    }

    fn open_lock(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.lock_file())
    }

    /// The passwords of both roles.
    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let read = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            if is_password(&text) {
                return Ok(SecretString::from(text.trim().to_owned()));
            }
            Err(Failure::new(format!("{} cannot be read, or is damaged", path.display()))
                .hint("The next start of the server that owns the data makes it good."))
        };
        Ok(Credentials { admin: read(&self.password_file())?, gateway: read(&self.gateway_password_file())? })
    }

    fn gateway_password_file(&self) -> PathBuf {
        self.root.join("gateway.password")
    }

    /// Sees to it that there is a password for the role of the gateway. The caller owns the folder.
    pub(super) fn ensure_gateway_password(&self) -> Result<(), Failure> {
        let path = self.gateway_password_file();
        if fs::read_to_string(&path).is_ok_and(|text| is_password(&text)) {
            return Ok(());
        }
        let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
        self.write_private(&path, &password).map_err(Failure::while_doing("writing the password of the gateway"))
    }

    /// Makes a password for a cluster that is about to be made.
    pub(super) fn renew_password(&self) -> Result<(), Failure> {
        let password = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), 32));
        self.write_private(&self.password_file(), password.expose_secret())
            .map_err(Failure::while_doing("writing the password of the data"))
    }

    /// Replaces a file of PostgreSQL's user as a whole.
    pub(super) fn write_private(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // New, so that a link in a folder of the other user is not followed.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        unprivileged::give(&file, self.user)?;
        fs::rename(&unfinished, path)
    }

    /// Major version of the server that made the cluster; `None` when there is none yet.
    pub(super) fn major(&self) -> Result<Option<u32>, Failure> {
        if !has_data(&self.root) {
            return Ok(None);
        }
        let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok().filter(|major: &u32| *major >= 10);
        let path = self.cluster().join("PG_VERSION");
        if let Some(major) = read(&path) {
            return Ok(Some(major));
        }
        // Each database has a copy of it, also the one that all others are made of.
        let copy = self.cluster().join("base/1/PG_VERSION");
        let Some(major) = read(&copy) else {
            let cluster = self.cluster();
            let message = format!("{} is no data of PostgreSQL: its PG_VERSION says nothing", cluster.display());
            return Err(Failure::new(message).hint(format!(
                "Put a backup in its place, or move {} away: the next start begins with an empty database.",
                cluster.display()
            )));
        };
        tracing::warn!("{} was damaged; it is written anew", path.display());
        self.write_private(&path, &format!("{major}\n"))
            .map_err(Failure::while_doing(format!("writing {}", path.display())))?;
        Ok(Some(major))
    }

    /// The server's settings file.
    pub(super) fn settings_file(&self, cluster: &Path) -> PathBuf {
        cluster.join("ragboard.conf")
    }

    /// The port of the last start.
    pub(super) fn remembered_port(&self) -> Option<u16> {
        let text = fs::read_to_string(self.settings_file(&self.cluster())).ok()?;
        settings::port_of(&text)
    }

    /// The server's pid file.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }
}
