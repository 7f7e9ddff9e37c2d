//! Imports into one board take turns: the second waits, without holding a connection or a lock, until the first is done.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::progress::Progress;
use crate::{domain::import::ImportTarget, ops::Failure, store::Store};

/// How long an import waits for another one.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks whether the other one is done.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a turn is prolonged; it would end after three times that.
const PROLONGED_EVERY: Duration = Duration::from_secs(10);

/// A turn. It is given back when this is dropped, and ends by itself when the process dies.
pub(super) struct Turn {
    store: Store,
    target: ImportTarget,
    pub(super) holder: Uuid,
    heart: JoinHandle<()>,
    is_over: bool,
}

impl Turn {
    /// # Errors
    /// Another import into this board goes on for too long, or the database fails.
    pub(super) async fn take(store: &Store, target: &ImportTarget, progress: &Progress) -> Result<Turn, Failure> {
        let (holder, began) = (Uuid::now_v7(), Instant::now());
        let mut bar = None;
        while !store.take_import_turn(target, holder).await? {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new("another import into this board is under way").hint("Try again later."));
            }
            bar.get_or_insert_with(|| progress.spinner("Waiting for another import into this board"));
            tokio::time::sleep(PAUSE).await;
        }
        let heart = tokio::spawn(prolong(store.clone(), target.clone(), holder));
        Ok(Turn { store: store.clone(), target: target.clone(), holder, heart, is_over: false })
    }

    /// Gives the turn back.
    pub(super) async fn end(mut self) {
        self.is_over = true;
        self.heart.abort();
        give_back(&self.store, &self.target, self.holder).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.heart.abort();
        if self.is_over {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, target, holder) = (self.store.clone(), self.target.clone(), self.holder);
            runtime.spawn(async move { give_back(&store, &target, holder).await });
        }
    }
}

async fn prolong(store: Store, target: ImportTarget, holder: Uuid) {
    loop {
        tokio::time::sleep(PROLONGED_EVERY).await;
        if let Err(error) = store.prolong_import_turn(&target, holder).await {
            tracing::debug!(%error, "Could not prolong the turn of an import");
        }
    }
}

async fn give_back(store: &Store, target: &ImportTarget, holder: Uuid) {
    if let Err(error) = store.end_import_turn(target, holder).await {
        tracing::debug!(%error, "Could not end the turn of an import; it ends by itself");
    }
}
