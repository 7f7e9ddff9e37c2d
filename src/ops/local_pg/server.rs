//! One run of the server: started, waited for until it answers, stopped in order.

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio_postgres::error::SqlState;

use super::binaries::{self, Binaries};
use super::endpoint::Endpoint;
use super::folder::{DataFolder, OwnerLock};
use super::settings::{self, Machine};
use super::watchdog::Watchdog;
use super::{Purpose, log};
use crate::ops::Failure;

/// A server that does not say anything for so long does not come up any more; recovery after a crash says so.
const SILENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long children of a crashed server may keep its shared memory, and strangers our port.
const CONTENTION: Duration = Duration::from_secs(20);
/// How long an orderly stop may take before it becomes an immediate one, which recovery makes good at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Announces its process id to the watchdog, then becomes the server: however early this program dies, either there
/// is no server or the watchdog knows it.
const LAUNCHER: &str = r#"echo "$$" && exec "$@" > /dev/null"#;

/// A server and all that belongs to it.
#[derive(Debug)]
pub(super) struct Server {
    pub folder: DataFolder,
    pub binaries: Binaries,
    pub purpose: Purpose,
    pub endpoint: Endpoint,
    pub postmaster: Child,
    pub watchdog: Watchdog,
    /// Last, so that it is let go of after everything else.
    pub _lock: OwnerLock,
}

/// How a start ended before the server answered.
enum NotReady {
    Exited(ExitStatus),
    Failed(Failure),
}

/// Whether another port may be taken when the wanted one is not free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Preferred(Option<u16>),
    Exactly(u16),
}

/// Starts the server and waits until it answers.
pub(super) async fn launch(
    folder: &DataFolder,
    binaries: &Binaries,
    purpose: Purpose,
    watchdog: &Watchdog,
    port: Port,
) -> Result<(Child, Endpoint), Failure> {
    let credentials = folder.credentials()?;
    let deadline = Instant::now() + CONTENTION;
    let mut port_now = match port {
        Port::Preferred(wanted) => free_port(wanted)?,
        Port::Exactly(port) => port,
    };
    loop {
        log::prune(folder);
        folder.clear_socket_dir();
        let endpoint = Endpoint::new(port_now, credentials.clone());
        let starting = || Failure::while_doing("starting PostgreSQL");
        write_settings(folder, binaries, purpose, port_now).map_err(starting())?;
        let mut postmaster = spawn(folder, binaries, watchdog).map_err(starting())?;
        match wait_until_ready(&mut postmaster, &endpoint).await {
            Ok(()) => return Ok((postmaster, endpoint)),
            Err(NotReady::Failed(failure)) => {
                stop(&mut postmaster, Signal::QUIT).await?;
                return Err(with_log(failure, folder));
            }
            Err(NotReady::Exited(status)) => {
                let said = log::startup(folder);
                let port_taken = said.contains("could not create any TCP/IP sockets");
                let crashed_before = said.contains("is still in use") || said.contains("lock file \"postmaster.pid\"");
                if (!port_taken && !crashed_before) || Instant::now() > deadline {
                    return Err(with_log(Failure::new(format!("PostgreSQL did not start ({status})")), folder));
                }
                if port_taken && port != Port::Exactly(port_now) {
                    port_now = free_port(None)?;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn with_log(failure: Failure, folder: &DataFolder) -> Failure {
    failure.hint(format!("Its log ends with:\n{}", log::tail(folder)))
}

/// A loopback port that nobody listens on: the wanted one, else one that the system hands out.
fn free_port(wanted: Option<u16>) -> Result<u16, Failure> {
    let try_port = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    wanted
        .and_then(|port| try_port(port).ok())
        .map_or_else(|| try_port(0), Ok)
        .map(|address| address.port())
        .map_err(Failure::while_doing("looking for a free port on 127.0.0.1"))
}

fn write_settings(folder: &DataFolder, binaries: &Binaries, purpose: Purpose, port: u16) -> io::Result<()> {
    let text = settings::render(
        purpose,
        &Machine {
            memory_bytes: settings::memory_bytes(),
            major: binaries.major,
            port,
            socket_dir: &folder.socket_dir(),
            preload: &binaries.preload,
        },
    );
    folder.write_private(&folder.settings_file(&folder.cluster()), &text)
}

fn spawn(folder: &DataFolder, binaries: &Binaries, watchdog: &Watchdog) -> io::Result<Child> {
    let log = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.startup_log())?;
    binaries::command("/bin/sh".as_ref(), folder.user)
        .args(["-c", LAUNCHER, "ragboard-postgres"])
        .arg(binaries.path("postgres"))
        .arg("-D")
        .arg(folder.cluster())
        .stdout(watchdog.announcements()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// Asks until an answer comes, the process ends, or nothing is heard for too long.
async fn wait_until_ready(postmaster: &mut Child, endpoint: &Endpoint) -> Result<(), NotReady> {
    let mut last_heard = Instant::now();
    loop {
        match postmaster.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(NotReady::Exited(status)),
            Err(error) => return Err(NotReady::Failed(Failure::while_doing("watching PostgreSQL start")(error))),
        }
        match tokio::time::timeout(SILENCE, endpoint.connect_as_admin("postgres")).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => match error.code() {
                // Starting up, or recovering from a crash, however long that takes.
                Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => last_heard = Instant::now(),
                Some(code) if *code == SqlState::INVALID_PASSWORD => {
                    return Err(NotReady::Failed(Failure::new(
                        "PostgreSQL refuses the password kept in postgres.password; without that file, the next start sets another",
                    )));
                }
                // Nobody may sign in, or not this superuser: that does not change by waiting.
                Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                    return Err(NotReady::Failed(Failure::new(format!(
                        "PostgreSQL lets this program not in: {error}"
                    ))));
                }
                _ => {}
            },
            Err(_) => {}
        }
        if last_heard.elapsed() > SILENCE {
            let message = format!("PostgreSQL did not answer for {} seconds", SILENCE.as_secs());
            return Err(NotReady::Failed(Failure::new(message)));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Stops the server with `signal`, and harder when that takes too long.
async fn stop(postmaster: &mut Child, signal: Signal) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("stopping PostgreSQL: {error}"));
    for (signal, patience) in [(signal, STOP_PATIENCE), (Signal::QUIT, Duration::from_secs(10))] {
        let Some(pid) = postmaster.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return Ok(()) };
        kill_process(pid, signal).map_err(|error| failed(error.into()))?;
        if let Ok(ended) = tokio::time::timeout(patience, postmaster.wait()).await {
            return ended.map(|_| ()).map_err(failed);
        }
    }
    postmaster.kill().await.map_err(failed)
}

impl Server {
    /// Stops the server and lets the folder go.
    pub(super) async fn shut_down(mut self) -> Result<(), Failure> {
        let signal = match self.purpose {
            Purpose::Durable => Signal::INT,
            Purpose::Throwaway => Signal::QUIT,
        };
        let stopped = stop(&mut self.postmaster, signal).await;
        self.watchdog.finish().await?;
        if self.purpose == Purpose::Throwaway && self.folder.root.exists() {
            // The watchdog does it; this is for one that was killed.
            let root = &self.folder.root;
            std::fs::remove_dir_all(root).map_err(Failure::while_doing(format!("removing {}", root.display())))?;
        }
        stopped
    }
}
