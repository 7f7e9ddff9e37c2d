//! The life of a local server as its owner sees it: start, attach, stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::binaries::Binaries;
use super::endpoint::{DATABASE, Endpoint};
use super::folder::DataFolder;
use super::server::{self, Port, Server};
use super::watchdog::Watchdog;
use super::{Options, Purpose, initialise, orphan, recovery, roles, supervision};
use crate::ops::Failure;

/// A running server that this process owns. Dropping it stops the server without waiting for it.
#[derive(Debug)]
pub struct LocalPg {
    endpoint: Endpoint,
    data_dir: PathBuf,
    stop: oneshot::Sender<()>,
    supervision: JoinHandle<Result<(), Failure>>,
}

/// How long another process may take to bring up the server that [`LocalPg::attach`] waits for.
const ATTACH_PATIENCE: Duration = Duration::from_secs(60);

impl LocalPg {
    /// Makes the data folder if need be, starts its server and waits until it answers.
    ///
    /// # Errors
    /// Another process owns the folder (the message names it), there are no PostgreSQL programs to be had, or the
    /// server does not start (the message ends with its log).
    pub async fn start(options: Options) -> Result<LocalPg, Failure> {
        let purpose = options.purpose;
        let folder = DataFolder::locate(&options.data_dir)?;
        if purpose == Purpose::Throwaway && std::fs::read_dir(&folder.root).is_ok_and(|mut it| it.next().is_some()) {
            let message = format!("{} is not empty, and a throwaway data folder is removed", folder.root.display());
            return Err(Failure::new(message));
        }
        folder.create()?;
        let lock = folder.lock().await?;
        // Before anything is put into the folder, so that a throwaway one goes away however far we come.
        let watchdog = Watchdog::start(&folder, purpose, None)?;
        let binaries = Binaries::find(&options.cache_dir, folder.major()?).await?;
        initialise::initialise(&folder, &binaries, purpose).await?;
        orphan::stop_orphan(&folder).await?;
        recovery::recover(&folder, &binaries).await?;
        folder.ensure_gateway_password()?;

        let port = Port::Preferred(folder.remembered_port());
        let (postmaster, endpoint) = server::launch(&folder, &binaries, purpose, &watchdog, port).await?;
        let data_dir = folder.root.clone();
        let server =
            Server { folder, binaries, purpose, endpoint: endpoint.clone(), postmaster, watchdog, _lock: lock };
        if let Err(failure) = roles::ensure(&endpoint).await {
            server.shut_down().await?;
            return Err(failure);
        }
        let (stop, stopped) = oneshot::channel();
        let supervision = tokio::spawn(supervision::supervise(server, stopped));
        Ok(LocalPg { endpoint, data_dir, stop, supervision })
    }

    /// The server that another process runs on the folder; `None` when no process owns it. Waits for one that is
    /// just starting.
    ///
    /// # Errors
    /// The server does not answer in time, or this user may not read the folder.
    pub async fn attach(data_dir: &Path) -> Result<Option<Endpoint>, Failure> {
        let folder = DataFolder::locate(data_dir)?;
        let deadline = Instant::now() + ATTACH_PATIENCE;
        while folder.is_owned()? {
            let last = match folder.remembered_port() {
                Some(port) => match folder.credentials() {
                    Ok(credentials) => {
                        let endpoint = Endpoint::new(port, credentials);
                        match endpoint.connect(DATABASE).await {
                            Ok(_) => return Ok(Some(endpoint)),
                            Err(error) => error.to_string(),
                        }
                    }
                    Err(failure) => failure.to_string(),
                },
                None => "it has not been started yet".to_owned(),
            };
            if Instant::now() > deadline {
                let message = format!("the server of {} does not answer: {last}", folder.root.display());
                return Err(Failure::new(message));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(None)
    }

    /// Address and credentials.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where the data really lies: not in [`Options::data_dir`] when PostgreSQL's user could not reach that.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops the server and waits until it has ended; a throwaway folder is gone then.
    ///
    /// # Errors
    /// The server could not be stopped.
    pub async fn stop(self) -> Result<(), Failure> {
        // Where supervision has ended already, its result says why.
        let _ = self.stop.send(());
        self.supervision.await.map_err(Failure::while_doing("stopping PostgreSQL"))?
    }
}
