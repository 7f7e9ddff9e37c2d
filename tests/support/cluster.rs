//! One throwaway PostgreSQL server for the whole test run.
//!
//! It runs on a thread with a runtime of its own, because every `#[tokio::test]` brings and ends its own. Nothing stops
//! it: the end of the test process does, in whatever way it comes, through the server's watchdog.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};

use ragboard::ops::local_pg::{Endpoint, LocalPg, Options, Purpose};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use secrecy::{ExposeSecret, SecretString};

use super::artifact_cache::cache_dir;

/// The role that gateways work with.
pub(crate) const OWNER: &str = "ragboard_gateway";
const PREFIX: &str = "ragboard-test-";

/// The server of this test run.
pub(crate) struct Cluster {
    endpoint: Endpoint,
}

/// The server, started by the first test that asks for it.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

fn start() -> Cluster {
    remove_stale(&std::env::temp_dir());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let started = LocalPg::start(Options {
                data_dir: new_folder("cluster"),
                cache_dir: cache_dir(),
                purpose: Purpose::Throwaway,
            })
            .await;
            match started {
                Ok(server) => {
                    sender.send(Ok(server.endpoint().clone())).unwrap();
                    std::future::pending::<()>().await;
                }
                Err(failure) => sender.send(Err(failure.to_string())).unwrap(),
            }
        });
    });
    let endpoint = receiver.recv().unwrap().unwrap_or_else(|failure| panic!("the test cluster: {failure}"));
    Cluster { endpoint }
}

impl Cluster {
    /// Connection string of a database of the cluster for the superuser, who makes databases.
    pub(crate) fn admin_url(&self, database: &str) -> SecretString {
        self.endpoint.admin_url(database)
    }

    /// Connection string of a database of the cluster for the role that gateways work with.
    pub(crate) fn url(&self, database: &str) -> SecretString {
        self.endpoint.url(database)
    }

    /// Creates the empty database `name` for a gateway: its role owns it, and the superuser has made what only he may make.
    pub(crate) async fn create_gateway_database(&self, name: &str) -> SecretString {
        let admin = connect(&self.admin_url("postgres")).await;
        admin.batch_execute(&format!("CREATE DATABASE \"{name}\" OWNER {OWNER}")).await.unwrap();
        connect(&self.admin_url(name)).await.batch_execute("CREATE EXTENSION vector").await.unwrap();
        self.url(name)
    }

    /// Creates the database `name`, as a copy of `template` (which nobody may be connected to) or empty, and gives its
    /// connection string for the superuser, who owns it.
    pub(crate) async fn create_database(&self, name: &str, template: Option<&str>) -> SecretString {
        let client = connect(&self.admin_url("postgres")).await;
        let template = template.unwrap_or("template1");
        let statement = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
        client.batch_execute(&statement).await.unwrap();
        self.admin_url(name)
    }
}

/// A plain connection, for looking at what is in a database.
pub(crate) async fn connect(url: &SecretString) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url.expose_secret(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A path among the temporary folders that no other test or run uses. It is not made.
pub(crate) fn new_folder(what: &str) -> PathBuf {
    let name = format!("{PREFIX}{}-{what}-{:08x}", std::process::id(), rand::random::<u32>());
    std::env::temp_dir().join(name)
}

/// A folder of one test, removed when the test is over. Everybody may pass it: as root, the server runs as another user.
pub(crate) struct TestFolder(PathBuf);

impl TestFolder {
    pub(crate) fn new(what: &str) -> TestFolder {
        let path = new_folder(what);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        TestFolder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Process id of the server whose data folder this is.
pub(crate) fn postmaster_of(data_dir: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// Removes what runs that were killed together with their watchdogs left, servers included.
fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
        let Some(owner) = owner.and_then(Pid::from_raw) else { continue };
        if test_kill_process(owner) != Err(rustix::io::Errno::SRCH) {
            continue;
        }
        for data_dir in [entry.path(), entry.path().join("data")] {
            if let Some(server) = postmaster_of(&data_dir)
                && fs::read(format!("/proc/{server}/cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*data_dir.to_string_lossy()))
            {
                let _ = kill_process(server, Signal::QUIT);
            }
        }
        let _ = fs::remove_dir_all(entry.path());
    }
}
