//! Reading only: by configuration, because an operator switched all gateways to it, or because the database takes no writes.
//! Mutations are refused then with `READ_ONLY`; queries and subscriptions go on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Services;
use crate::domain::{Code, Error, Result};

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(500);

impl Services {
    /// Whether writes are refused at the moment.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.info.is_read_only || self.refuses_writes.load(Ordering::Relaxed)
    }

    /// Refuses to write while only reading is possible.
    ///
    /// # Errors
    /// `ReadOnly`.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::new(Code::ReadOnly, "The server takes no writes at the moment"));
        }
        Ok(())
    }

    /// Asks the database whether it takes writes.
    ///
    /// # Errors
    /// Those of the database; what was known before holds on.
    pub async fn look_at_mode(&self) -> Result<()> {
        let refuses_writes = self.ports.read_only_mode.refuses_writes().await?;
        if self.refuses_writes.swap(refuses_writes, Ordering::Relaxed) != refuses_writes {
            tracing::warn!(
                "{}",
                if refuses_writes { "Writes are refused from now on" } else { "Writes are taken again" }
            );
        }
        Ok(())
    }

    /// Follows the mode for as long as the services are there.
    pub fn follow_mode(self: &Arc<Self>) {
        let services = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let Some(services) = services.upgrade() else { return };
                if let Err(error) = services.look_at_mode().await {
                    tracing::debug!(cause = ?error.cause(), "Could not ask whether writes are taken: {error}");
                }
            }
        });
    }
}
