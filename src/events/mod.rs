//! Following the change log: one reader per process, whatever the number of followers.
//!
//! Processes wake each other through `relay.rs`. The table is the truth. A follower first reads on from where it is, and then
//! hears of new entries from the one task here, which reads the log of all boards that have followers in one statement, as soon
//! as this process has committed something and once a second otherwise. Whoever is too slow for the bounded channel reads the table again, so nobody loses an entry,
//! slows others, or makes memory grow; whoever is far behind skips what it missed, which it sees as a gap.
//!
//! A database may be set back: another server takes over that lagged, or a backup is restored. Then versions come again
//! with other content, and whoever was told more than the log has now is told to read the board again, and goes on from
//! where the log is.

mod jobs;
mod outage;
mod presence;
mod relay;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::{Notify, broadcast};

pub use self::jobs::JobWatch;
use self::outage::Outage;
pub use self::presence::Crowd;
pub use self::relay::Relay;
use crate::domain::{
    BoardEvent, BoardId, Code, Error, Logged, Result,
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

/// What followers hear.
#[derive(Clone)]
enum News {
    /// The next entry of the log.
    Entry(Arc<BoardEvent>),
    /// The log goes on from this version, whatever was told of it before.
    Back(Arc<BoardEvent>),
}

/// A board with followers: the last version that they were told, and how they are told.
struct Watched {
    version: i64,
    /// When the entry of that version was committed, if it was read here. By this an entry is known again.
    at: Option<DateTime<Utc>>,
    sender: broadcast::Sender<News>,
}

impl Watched {
    fn new(version: i64) -> Self {
        Watched { version, at: None, sender: broadcast::Sender::new(CHANNEL) }
    }

    /// After which version the log is read: the last one, or the one before it, to see whether the last is still the
    /// same.
    fn after(&self, is_anew: bool) -> i64 {
        if is_anew && self.at.is_some() { self.version - 1 } else { self.version }
    }

    /// Takes over what was found after the version that was asked for.
    fn take(&mut self, board: BoardId, asked: i64, events: Vec<BoardEvent>) -> Found {
        let may_have_more = events.len() as i64 >= PORTION;
        let mut events = events.into_iter().peekable();
        let earlier = events.next_if(|event| event.version < asked).map(|event| event.version);
        let differs = |event: &BoardEvent| event.version != self.version || Some(event.at) != self.at;
        let is_other = asked < self.version && self.at.is_some() && events.peek().is_none_or(differs);
        let back = earlier.or_else(|| is_other.then_some(asked)).filter(|version| *version < self.version);
        if let Some(version) = back {
            (self.version, self.at) = (version, None);
            let unknown = BoardEvent {
                board_id: board,
                version,
                at: Utc::now(),
                actor: None,
                client_mutation_id: None,
                changes: vec![Logged::Unknown],
            };
            // Nobody listening is no failure, here and below: the next reading forgets the board.
            let _ = self.sender.send(News::Back(Arc::new(unknown)));
        }
        for event in events {
            if self.version < event.version {
                (self.version, self.at) = (event.version, Some(event.at));
                let _ = self.sender.send(News::Entry(Arc::new(event)));
            }
        }
        Found { may_have_more, is_set_back: back.is_some() }
    }
}

/// What a reading of the log has found for a board.
struct Found {
    may_have_more: bool,
    is_set_back: bool,
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

async fn run(inner: Weak<Inner>) {
    let mut is_anew = false;
    loop {
        let Some(hub) = inner.upgrade() else { return };
        let _ = tokio::time::timeout(EVERY, hub.wake.notified()).await;
        match read(&hub, is_anew).await {
            Ok(()) => {
                is_anew = false;
                hub.reading.works();
            }
            Err(error) => {
                // It may be another server that answers next.
                is_anew = true;
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
async fn read(hub: &Inner, mut is_anew: bool) -> Result<()> {
    loop {
        let after: Vec<(BoardId, i64)> = {
            let mut watched = hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|_, board| board.sender.receiver_count() > 0);
            watched.iter().map(|(id, board)| (*id, board.after(is_anew))).collect()
        };
        if after.is_empty() {
            return Ok(());
        }
        let mut found: HashMap<BoardId, Vec<BoardEvent>> = HashMap::new();
        for event in in_time(&*hub.source, &after).await? {
            found.entry(event.board_id).or_default().push(event);
        }
        let mut watched = hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut has_more, mut set_back) = (false, 0);
        for (id, asked) in after {
            let events = found.remove(&id).unwrap_or_default();
            let Some(board) = watched.get_mut(&id) else { continue };
            let found = board.take(id, asked, events);
            has_more |= found.may_have_more;
            set_back += usize::from(found.is_set_back);
        }
        if set_back > 0 {
            tracing::warn!(
                boards = set_back,
                "The database was set back: followers of {set_back} boards read them again"
            );
        }
        if !has_more {
            return Ok(());
        }
        is_anew = false;
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
            (watched.entry(board).or_insert_with(|| Watched::new(after)).sender.subscribe(), is_live)
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
    receiver: broadcast::Receiver<News>,
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
                    }
                    Err(error) => {
                        self.hub.0.catching_up.failed(&error);
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                }
                continue;
            }
            match self.receiver.recv().await {
                // Who was told no more than that goes on as if nothing had happened.
                Ok(News::Back(event)) if event.version == self.version => {}
                // What lies in between is told to nobody again: the table has it.
                Ok(News::Back(event)) if event.version > self.version => self.is_live = false,
                Ok(News::Entry(event)) if event.version <= self.version => {}
                Ok(News::Back(event)) => {
                    (self.version, self.skips) = (event.version, false);
                    return Some(event);
                }
                Ok(News::Entry(event)) if self.skips || event.version == self.version + 1 => {
                    (self.version, self.skips) = (event.version, false);
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Lagged(missed)) if self.skips || missed > MOST_MISSED as u64 => {
                    self.skips = true;
                }
                // Something is missing in between, or was too fast: the table has it.
                Ok(News::Entry(_)) | Err(broadcast::error::RecvError::Lagged(_)) => self.is_live = false,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// A log that others write to, of one board; it also fails when told to.
    #[derive(Default)]
    struct Log(Mutex<State>);

    #[derive(Default)]
    struct State {
        version: i64,
        failures: usize,
        /// Entries are of another one when the log was set back.
        history: i64,
    }

    impl Log {
        fn set(&self, version: i64, failures: usize) {
            let mut state = self.0.lock().unwrap();
            (state.version, state.failures) = (version, failures);
        }
    }

    #[async_trait]
    impl Events for Log {
        async fn events(&self, after: &[(BoardId, i64)], most: i64) -> Result<Vec<BoardEvent>> {
            let mut state = self.0.lock().unwrap();
            if state.failures > 0 {
                state.failures -= 1;
                return Err(Error::internal("a lost connection"));
            }
            let at = DateTime::from_timestamp(state.history, 0).unwrap();
            let event = |board_id, version, changes| BoardEvent {
                board_id,
                version,
                at,
                actor: None,
                client_mutation_id: None,
                changes,
            };
            let mut found = Vec::new();
            for (board, version) in after {
                if *version > state.version {
                    found.push(event(*board, state.version, vec![Logged::Unknown]));
                }
                let newer = (version + 1..=state.version).take(most as usize);
                found.extend(newer.map(|version| event(*board, version, Vec::new())));
            }
            Ok(found)
        }
    }

    fn hub(log: &Arc<Log>) -> Hub {
        Hub::new(Arc::clone(log) as Arc<dyn Events>, Arc::clone(log) as Arc<dyn Events>, None)
    }

    #[tokio::test]
    async fn every_follower_is_told_every_version_once() {
        let log = Arc::new(Log::default());
        let hub = hub(&log);
        let board = BoardId::generate();
        log.set(250, 0);
        let mut early = hub.follow(board, 0);
        let mut late = hub.follow(board, 240);
        for version in 1..=250 {
            assert_eq!(early.next().await.unwrap().version, version);
        }
        // More than the channel holds, and a lost connection in between.
        log.set(1000, 3);
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
        let hub = hub(&log);
        let board = BoardId::generate();
        log.set(10, 0);
        let _ahead = hub.follow(board, 5000);
        let mut follower = hub.follow(board, 9);
        assert_eq!(follower.next().await.unwrap().version, 10);
        // It has read all there is, and is told the rest.
        assert!(tokio::time::timeout(EVERY, follower.next()).await.is_err());
        log.set(11, 0);
        let next = tokio::time::timeout(Duration::from_secs(20), follower.next()).await;
        assert_eq!(next.expect("told within 20 s").unwrap().version, 11);
    }

    /// What a follower is told next: the version, and whether it has to read the board again.
    async fn told(follower: &mut BoxStream<'static, Arc<BoardEvent>>) -> (i64, bool) {
        let next = tokio::time::timeout(Duration::from_secs(20), follower.next()).await;
        let event = next.expect("told within 20 s").unwrap();
        (event.version, event.changes.contains(&Logged::Unknown))
    }

    /// Has a follower read the log to its end, so that it hears what comes.
    async fn reads_to_the_end(follower: &mut BoxStream<'static, Arc<BoardEvent>>) {
        assert!(tokio::time::timeout(Duration::from_millis(10), follower.next()).await.is_err());
    }

    #[tokio::test]
    async fn whoever_was_told_more_than_there_is_reads_again() {
        let log = Arc::new(Log::default());
        let (hub, board) = (hub(&log), BoardId::generate());
        log.set(10, 0);
        let mut follower = hub.follow(board, 9);
        assert_eq!(told(&mut follower).await, (10, false));
        reads_to_the_end(&mut follower).await;
        log.set(11, 0);
        assert_eq!(told(&mut follower).await, (11, false));
        log.set(8, 0);
        assert_eq!(told(&mut follower).await, (8, true));
        // Somebody who comes now hears no more than what is new.
        let mut fresh = hub.follow(board, 8);
        log.set(9, 0);
        assert_eq!((told(&mut follower).await, told(&mut fresh).await), ((9, false), (9, false)));
        // One that reads by itself sees the same.
        let mut ahead = hub.follow(board, 20);
        assert_eq!(told(&mut ahead).await, (9, true));
    }

    #[tokio::test]
    async fn versions_that_came_again_while_the_log_was_away_are_noticed() {
        let (log, behind) = (Arc::new(Log::default()), Arc::new(Log::default()));
        let hub = Hub::new(Arc::clone(&log) as Arc<dyn Events>, Arc::clone(&behind) as Arc<dyn Events>, None);
        let board = BoardId::generate();
        behind.set(10, 0);
        log.set(10, 0);
        let mut follower = hub.follow(board, 9);
        assert_eq!(told(&mut follower).await, (10, false));
        reads_to_the_end(&mut follower).await;
        log.set(11, 0);
        assert_eq!(told(&mut follower).await, (11, false));
        // A lost connection alone tells nothing.
        log.set(12, 2);
        assert_eq!(told(&mut follower).await, (12, false));
        // Another server has fewer entries, and comes as far and further before it is asked.
        log.0.lock().unwrap().history = 1;
        log.set(13, 2);
        assert_eq!(told(&mut follower).await, (11, true));
        assert_eq!((told(&mut follower).await, told(&mut follower).await), ((12, false), (13, false)));
    }
}
