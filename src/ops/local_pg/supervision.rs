//! Keeps the server running while the program lives: a server or watchdog that died is started again.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::server::{self, Port, Server};
use super::watchdog::Watchdog;
use super::{log, orphan};
use crate::ops::Failure;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A server that ran for so long has not died of what killed the one before.
const STABLE: Duration = Duration::from_secs(60);
const LOG_CHECK: Duration = Duration::from_secs(600);

/// Runs until `stop` is sent or its sender is gone, then stops the server.
pub(super) async fn supervise(mut server: Server, mut stop: oneshot::Receiver<()>) -> Result<(), Failure> {
    let mut delay = FIRST_DELAY;
    let mut started = Instant::now();
    loop {
        tokio::select! {
            _ = &mut stop => return server.shut_down().await,
            status = server.postmaster.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                if started.elapsed() > STABLE {
                    delay = FIRST_DELAY;
                }
                tracing::error!(%status, delay_ms = delay.as_millis(), "PostgreSQL ended; starting it again");
                tokio::select! {
                    _ = &mut stop => return server.shut_down().await,
                    () = tokio::time::sleep(delay) => {}
                }
                delay = (delay * 2).min(LONGEST_DELAY);
                // Not interrupted by a stop: a start ends soon either way, and half a start would be an orphan.
                match restart(&mut server).await {
                    Ok(()) => tracing::info!(port = server.endpoint.port(), "PostgreSQL runs again"),
                    Err(failure) => tracing::error!(%failure, "PostgreSQL could not be started again"),
                }
                started = Instant::now();
            }
            _ = server.watchdog.ended() => {
                tracing::warn!("the watchdog of PostgreSQL ended; starting another");
                match Watchdog::start(&server.folder, server.purpose, server.postmaster.id()) {
                    Ok(watchdog) => server.watchdog = watchdog,
                    Err(failure) => {
                        tracing::error!(%failure, "PostgreSQL would outlive this program if that were killed");
                        tokio::time::sleep(FIRST_DELAY).await;
                    }
                }
            }
            () = tokio::time::sleep(LOG_CHECK) => log::prune(&server.folder),
        }
    }
}

async fn restart(server: &mut Server) -> Result<(), Failure> {
    orphan::stop_orphan(&server.folder).await?;
    // The same port: connections of this process and of others name it.
    let port = Port::Exactly(server.endpoint.port());
    let (postmaster, _) =
        server::launch(&server.folder, &server.binaries, server.purpose, &server.watchdog, port).await?;
    server.postmaster = postmaster;
    Ok(())
}
