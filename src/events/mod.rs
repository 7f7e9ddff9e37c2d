//! Following the change log: one reader per process, whatever the number of followers.
//!
//! Processes wake each other through `relay.rs`. The table is the truth. A follower first reads on from where it is, and then
//! hears of new entries from the one task here, which reads the log of all boards that have followers in one statement, as soon
//! as this process has committed something and once a second otherwise. Whoever is too slow for the bounded channel reads the table again, so nobody loses an entry,
//! slows others, or makes memory grow; whoever is far behind skips what it missed, which it sees as a gap.

mod jobs;
mod outage;
mod presence;
mod relay;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::{Notify, broadcast};

pub use self::jobs::JobWatch;
use self::outage::Outage;
pub use self::presence::Crowd;
pub use self::relay::Relay;
use crate::domain::{
    BoardEvent, BoardId, Code, Error, Result,
    ports::{Events, Feed, Heard, Wake},
};

/// How often the log is read when nobody says that there is something new.
const EVERY: Duration = Duration::from_secs(1);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How long one reading may take. A connection that has not answered by then may never do so.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Entries that a follower may be behind before it has to read the table again.
const CHANNEL: usize = 64;
/// Entries that a follower may miss and still be told; with more it is cheaper for both to read the board again.
const MOST_MISSED: usize = 1000;
/// Entries of one board per reading.
const PORTION: i64 = 100;

/// Hands the change log on to those who follow boards. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    source: Arc<dyn Events>,
    /// The same for followers that are behind: they do not hold up those that hear what happens.
    behind: Arc<dyn Events>,
    reading: Outage,
    catching_up: Outage,
    watched: Mutex<HashMap<BoardId, Watched>>,
    wake: Notify,
    /// None where there is one process.
    relay: Option<Relay>,
    /// Who is woken when this process has committed something; others of it are woken by the relay.
    listeners: Mutex<Vec<Arc<dyn Wake>>>,
}

/// Wakes the reader when others have changed something.
struct Woken(Weak<Inner>);

impl Wake for Woken {
    fn woken(&self, _: &Heard) {
        if let Some(hub) = self.0.upgrade() {
            hub.wake.notify_one();
        }
    }
}

/// A board with followers: the last version that they were told, and how they are told.
struct Watched {
    version: i64,
    sender: broadcast::Sender<Arc<BoardEvent>>,
}

impl Hub {
    /// Begins to follow the log. Followers that are behind read it from `behind`. The task ends with the last clone.
    #[must_use]
    pub fn new(source: Arc<dyn Events>, behind: Arc<dyn Events>, relay: Option<Relay>) -> Self {
        let hub = Hub(Arc::new(Inner {
            source,
            behind,
            reading: Outage::of("Following the change log"),
            catching_up: Outage::of("Reading the change log for followers that are behind"),
            watched: Mutex::default(),
            wake: Notify::new(),
            relay: relay.clone(),
            listeners: Mutex::default(),
        }));
        let inner = Arc::downgrade(&hub.0);
        if let Some(relay) = relay {
            relay.attach(Arc::new(Woken(inner.clone())));
        }
        tokio::spawn(run(inner));
        hub
    }

    /// Wakes `listener` when this process or another has changed something.
    pub fn attach(&self, listener: Arc<dyn Wake>) {
        if let Some(relay) = &self.0.relay {
            relay.attach(Arc::clone(&listener));
        }
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// How many boards are followed.
    #[must_use]
    pub fn boards(&self) -> usize {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Inner {
    /// Hears from a follower who has read all that there is where that ends. The first follower may have come with a place
    /// that the log has not reached, for example from before a restore; the others must not wait for that.
    fn ends_at(&self, board: BoardId, version: i64) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(board) = watched.get_mut(&board) {
            // What is told twice for it, followers leave out.
            board.version = board.version.min(version);
        }
    }
}

async fn run(inner: Weak<Inner>) {
    loop {
        let Some(hub) = inner.upgrade() else { return };
        let _ = tokio::time::timeout(EVERY, hub.wake.notified()).await;
        match read(&hub).await {
            Ok(()) => hub.reading.works(),
            Err(error) => {
                hub.reading.failed(&error);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Reads the log, or gives up on a database that does not answer.
async fn in_time(source: &dyn Events, after: &[(BoardId, i64)]) -> Result<Vec<BoardEvent>> {
    let late = |_| Error::new(Code::Timeout, "The database takes too long");
    tokio::time::timeout(READ_WITHIN, source.events(after, PORTION)).await.map_err(late)?
}

/// Reads what is new of all boards that have followers, until nothing is.
async fn read(hub: &Inner) -> Result<()> {
    loop {
        let after: Vec<(BoardId, i64)> = {
            let mut watched = hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|_, board| board.sender.receiver_count() > 0);
            watched.iter().map(|(id, board)| (*id, board.version)).collect()
        };
        if after.is_empty() {
            return Ok(());
        }
        let events = in_time(&*hub.source, &after).await?;
        let is_all = (events.len() as i64) < PORTION;
        let mut watched = hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if let Some(board) = watched.get_mut(&event.board_id).filter(|board| board.version < event.version) {
                board.version = event.version;
                // Nobody listening is no failure: the next reading forgets the board.
                let _ = board.sender.send(Arc::new(event));
            }
        }
        if is_all {
            return Ok(());
        }
    }
}

impl Feed for Hub {
    fn committed(&self, board: BoardId) {
        self.0.wake.notify_one();
        if let Some(relay) = &self.0.relay {
            relay.changed(board);
        }
        let heard = Heard::Boards(vec![board]);
        let listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener.woken(&heard));
    }

    fn follow(&self, board: BoardId, after: i64) -> BoxStream<'static, Arc<BoardEvent>> {
        // Who begins where others are hears what they hear. Only who is behind, or the first, has to read.
        let (receiver, is_live) = {
            let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let is_live = watched.get(&board).is_some_and(|board| board.version == after);
            let new = || Watched { version: after, sender: broadcast::Sender::new(CHANNEL) };
            (watched.entry(board).or_insert_with(new).sender.subscribe(), is_live)
        };
        let follower = Follower {
            hub: self.clone(),
            board,
            version: after,
            receiver,
            read: VecDeque::new(),
            is_live,
            skips: false,
        };
        stream::unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) }).boxed()
    }
}

/// One who follows a board.
struct Follower {
    hub: Hub,
    board: BoardId,
    /// The last version that it was told.
    version: i64,
    receiver: broadcast::Receiver<Arc<BoardEvent>>,
    /// What it read of the table and was not told yet.
    read: VecDeque<BoardEvent>,
    /// Whether it has read all that the table had, and hears the rest.
    is_live: bool,
    /// Whether it goes on with whatever comes next.
    skips: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Arc<BoardEvent>> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.version = event.version;
                return Some(Arc::new(event));
            }
            if !self.is_live && self.receiver.len() > MOST_MISSED {
                (self.is_live, self.skips) = (true, true);
            }
            if !self.is_live {
                match in_time(&*self.hub.0.behind, &[(self.board, self.version)]).await {
                    Ok(events) => {
                        self.hub.0.catching_up.works();
                        self.is_live = events.is_empty();
                        self.read = events.into();
                        if self.is_live {
                            self.hub.0.ends_at(self.board, self.version);
                        }
                    }
                    Err(error) => {
                        self.hub.0.catching_up.failed(&error);
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(event) if event.version <= self.version => {}
                Ok(event) if self.skips || event.version == self.version + 1 => {
                    self.skips = false;
                    self.version = event.version;
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) if self.skips || missed > MOST_MISSED as u64 => {
                    self.skips = true;
                }
                // Something is missing in between, or was too fast: the table has it.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.is_live = false,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use chrono::Utc;

    use super::*;

    /// A log that others write to; it also fails when told to.
    #[derive(Default)]
    struct Log(Mutex<(i64, usize)>);

    #[async_trait]
    impl Events for Log {
        async fn events(&self, after: &[(BoardId, i64)], most: i64) -> Result<Vec<BoardEvent>> {
            let mut state = self.0.lock().unwrap();
            if state.1 > 0 {
                state.1 -= 1;
                return Err(Error::internal("a lost connection"));
            }
            let event = |board_id, version| BoardEvent {
                board_id,
                version,
                at: Utc::now(),
                actor: None,
                client_mutation_id: None,
                changes: Vec::new(),
            };
            Ok(after
                .iter()
                .flat_map(|(board, version)| (version + 1..=state.0).take(most as usize).map(|v| event(*board, v)))
                .collect())
        }
    }

    #[tokio::test]
    async fn every_follower_is_told_every_version_once() {
        let log = Arc::new(Log::default());
        let hub = Hub::new(Arc::clone(&log) as Arc<dyn Events>, Arc::clone(&log) as Arc<dyn Events>, None);
        let board = BoardId::generate();
        log.0.lock().unwrap().0 = 250;
        let mut early = hub.follow(board, 0);
        let mut late = hub.follow(board, 240);
        for version in 1..=250 {
            assert_eq!(early.next().await.unwrap().version, version);
        }
        // More than the channel holds, and a lost connection in between.
        *log.0.lock().unwrap() = (1000, 3);
        hub.committed(board);
        for version in 251..=1000 {
            assert_eq!(early.next().await.unwrap().version, version);
        }
        for version in 241..=1000 {
            assert_eq!(late.next().await.unwrap().version, version);
        }
        drop((early, late));
        while hub.boards() > 0 {
            hub.committed(board);
            tokio::time::sleep(EVERY).await;
        }
    }

    #[tokio::test]
    async fn who_is_ahead_of_the_log_keeps_nothing_from_others() {
        let log = Arc::new(Log::default());
        let hub = Hub::new(Arc::clone(&log) as Arc<dyn Events>, Arc::clone(&log) as Arc<dyn Events>, None);
        let board = BoardId::generate();
        log.0.lock().unwrap().0 = 10;
        let _ahead = hub.follow(board, 5000);
        let mut follower = hub.follow(board, 9);
        assert_eq!(follower.next().await.unwrap().version, 10);
        // It has read all there is, and is told the rest.
        assert!(tokio::time::timeout(EVERY, follower.next()).await.is_err());
        log.0.lock().unwrap().0 = 11;
        let next = tokio::time::timeout(Duration::from_secs(20), follower.next()).await;
        assert_eq!(next.expect("told within 20 s").unwrap().version, 11);
    }
}
