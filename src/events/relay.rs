//! Wakes other processes when this one has changed boards, and those of this process who want to know when others have.
//!
//! One task and one connection per process. What is to be told is gathered for a moment, so that a storm of commits is a
//! few messages. Where the connection cannot be had (behind a pooler, on a standby), nobody is woken, and followers find
//! out by looking, as they do after a message that was lost.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::{sync::Notify, time::Instant};

use crate::domain::{
    BoardId, Code, Error, Result,
    ports::{Heard, Wake, Wire, Wires},
};

/// How long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(2);
/// How long a connection may take to be made, and to take a message.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it still answers: one that only listens never finds out by itself.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long the answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Tells and hears of changed boards. Cheap to clone; the task ends with the last clone.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    wires: Box<dyn Wires>,
    changed: Mutex<HashSet<BoardId>>,
    something: Notify,
    listeners: Mutex<Vec<Arc<dyn Wake>>>,
}

impl Relay {
    /// Begins to tell and to hear.
    #[must_use]
    pub fn new(wires: Box<dyn Wires>) -> Self {
        let (changed, listeners) = (Mutex::default(), Mutex::default());
        let relay = Relay(Arc::new(Inner { wires, changed, something: Notify::new(), listeners }));
        tokio::spawn(run(Arc::downgrade(&relay.0)));
        relay
    }

    /// Says that this process has changed a board.
    pub fn changed(&self, board: BoardId) {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(board);
        self.0.something.notify_one();
    }

    /// Wakes `listener` when others have changed something.
    pub fn attach(&self, listener: Arc<dyn Wake>) {
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }
}

impl Inner {
    fn wake(&self, heard: &Heard) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener.woken(heard));
    }

    fn take(&self) -> Vec<BoardId> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

async fn run(relay: Weak<Inner>) {
    let mut is_failing = false;
    while let Some(inner) = relay.upgrade() {
        match in_time(CONNECT_WITHIN, inner.wires.connect()).await {
            Ok((wire, mut heard)) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("Other processes wake this one again");
                }
                // What happened before was not heard.
                inner.wake(&Heard::Any);
                drop(inner);
                if let Err(error) = carry(&relay, wire.as_ref(), &mut heard).await {
                    is_failing = true;
                    tracing::warn!(cause = ?error.cause(), "Other processes cannot wake this one, it looks by itself: {error}");
                }
            }
            Err(error) => {
                drop(inner);
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(cause = ?error.cause(), "Other processes cannot wake this one, it looks by itself: {error}");
                }
            }
        }
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

async fn in_time<T>(within: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(Code::Timeout, "The database takes too long");
    tokio::time::timeout(within, asked).await.map_err(late)?
}

/// Carries messages until the connection is lost, or nobody needs it any more.
async fn carry(relay: &Weak<Inner>, wire: &dyn Wire, heard: &mut BoxStream<'static, Heard>) -> Result<()> {
    /// How often a relay that nobody uses is noticed.
    const LOOK: Duration = Duration::from_secs(1);
    let mut checked = Instant::now();
    while let Some(inner) = relay.upgrade() {
        if checked.elapsed() > CHECK_EVERY {
            in_time(ANSWER_WITHIN, wire.check()).await?;
            checked = Instant::now();
        }
        tokio::select! {
            message = heard.next() => match message {
                Some(message) => inner.wake(&message),
                None => return Ok(()),
            },
            () = inner.something.notified() => {
                tokio::time::sleep(GATHER).await;
                in_time(ANSWER_WITHIN, wire.tell(&inner.take())).await?;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    Ok(())
}
