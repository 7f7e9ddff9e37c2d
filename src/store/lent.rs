//! A connection that the pool has lent, with the turn by which its holder has it, and what becomes of both when the holder
//! goes away.
//!
//! A holder that is dropped in the middle of a statement (its client hung up, its time is over) leaves the server at work.
//! Then connection and turn stay together until the server is done: after a moment of grace the statement is cancelled. So
//! there are never more backends than the pool may have connections. The pool itself is `pool.rs`.

use std::{
    ops::{Deref, DerefMut},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use diesel::connection::{Instrumentation, InstrumentationEvent, TransactionManagerStatus};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
    pooled_connection::{PoolableConnection, bb8::PooledConnection},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use super::tls::Canceller;
use crate::access::Turn;

/// Most statements end within so long by themselves; then the connection can be used again.
const GRACE: Duration = Duration::from_millis(50);
/// How long a statement may take to end after it was cancelled. Then it is cancelled again: the first request may have been
/// there before the statement.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often that is tried. The connection is closed afterwards in any case.
const ATTEMPTS: usize = 10;

type Pooled = PooledConnection<'static, AsyncPgConnection>;

/// A connection on loan.
pub(super) struct Lent {
    connection: OwnedMutexGuard<Pooled>,
    /// The same connection, for whoever waits until the server is done with it.
    shared: Arc<Mutex<Pooled>>,
    turn: Option<Turn>,
    canceller: Canceller,
}

impl Lent {
    /// Hands a connection out. `None` when it turns out to be closed; the pool throws it away.
    pub(super) fn new(mut connection: Pooled, turn: Turn, canceller: Canceller) -> Option<Self> {
        if connection.is_broken() {
            return None;
        }
        let shared = Arc::new(Mutex::new(connection));
        let connection = Arc::clone(&shared).try_lock_owned().ok()?;
        Some(Lent { connection, shared, turn: Some(turn), canceller })
    }
}

impl Deref for Lent {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !is_at_work(self) {
            return;
        }
        // Without a runtime the program ends, and its connections with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, turn, canceller) = (Arc::clone(&self.shared), self.turn.take(), self.canceller.clone());
        runtime.spawn(async move {
            let mut connection = shared.lock_owned().await;
            settle(&mut connection, &canceller).await;
            drop(connection);
            drop(turn);
        });
    }
}

/// Waits until the server is done with what it works on. A connection on which something was cancelled is not used again:
/// a request to cancel may come late, and would then meet the statement of somebody else.
async fn settle(connection: &mut AsyncPgConnection, canceller: &Canceller) {
    let token = connection.cancel_token();
    // Both are answered after everything that was asked before.
    let last = if connection.is_broken() { "ROLLBACK" } else { "" };
    let mut is_cancelled = false;
    let ended = {
        let mut end = pin!(connection.batch_execute(last));
        let mut ended = timeout(GRACE, &mut end).await.ok();
        for _ in 0..ATTEMPTS {
            if ended.is_some() {
                break;
            }
            is_cancelled = true;
            canceller.cancel(&token).await;
            ended = timeout(AGAIN_AFTER, &mut end).await.ok();
        }
        ended
    };
    at_work(connection, false);
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    match ended {
        Some(Ok(())) if !is_cancelled => *status = TransactionManagerStatus::default(),
        _ => status.set_in_error(),
    }
}

/// Whether the server works on something; kept with each connection of the pool.
#[derive(Default)]
struct AtWork(bool);

impl Instrumentation for AtWork {
    // Events tell when a statement was sent and accepted, not when its last row has come: `at_work` is told by who waits.
    fn on_connection_event(&mut self, _: InstrumentationEvent<'_>) {}
}

/// Prepares a new connection for [`at_work`].
pub(super) fn keep_watch(connection: &mut AsyncPgConnection) {
    connection.set_instrumentation(AtWork::default());
}

/// Notes that the server works on something from now on, or no longer.
pub(super) fn at_work(connection: &mut AsyncPgConnection, works: bool) {
    if let Some(work) = connection.instrumentation().downcast_mut::<AtWork>() {
        work.0 = works;
    }
}

fn is_at_work(connection: &mut AsyncPgConnection) -> bool {
    connection.instrumentation().downcast_ref::<AtWork>().is_some_and(|work| work.0)
}
