//! Presence, live: who is on the boards that somebody here looks at, and what the people here say.
//!
//! Twenty times a second what was said since is told to followers of this process and written to the table, in one
//! statement and only if there is something. Half as often the table is read, for the boards that have followers here.
//! Nothing queues: of each window only the newest is known, and a follower that is slow finds less to be told. What
//! could not be written or read is made up for, as long as it says something: somebody of whom nothing was heard for
//! half a minute is gone. The clock that counts is that of the database.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use crate::domain::{
    BoardId, Code, Error, GONE_AFTER, Outcome, Person, Presence, PresenceId, Refusal, Result, UserId,
    ports::{PresenceFeed, PresenceTable},
};

/// Time between two writings: what is said in between is known by its newest alone.
const TURN: Duration = Duration::from_millis(50);
/// How far back each reading looks beyond the last one. A row that takes longer to be written is heard of by its next.
const OVERLAP: Duration = Duration::from_secs(2);
/// How long the table may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long nothing is written after a failure. On a standby there is no such table at all.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Time between two rounds that let go of who has gone.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Time between two removals of old rows, while something is written.
const REMOVE_EVERY: Duration = Duration::from_secs(30);
/// How long a goodbye is remembered, so that slow followers hear of it, too.
const REMEMBERED: Duration = Duration::from_secs(60);
/// People of one board who are shown; others are not seen until somebody leaves.
const MOST_PEOPLE: usize = 1_000;
/// Windows that are waiting to be written, and windows that this process knows as its own.
const MOST_WINDOWS: usize = 50_000;
/// Rows of one statement.
const PORTION: usize = 1_000;

/// Everybody, as far as somebody here looks. Cheap to clone.
#[derive(Clone)]
pub struct Crowd(Arc<Inner>);

struct Inner {
    table: Arc<dyn PresenceTable>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// What was said here since the last turn.
    said: HashMap<PresenceId, Arc<Presence>>,
    /// What was told here and is not in the table yet, and when it was said.
    unwritten: HashMap<PresenceId, (Arc<Presence>, Instant)>,
    /// The windows of people who spoke here, and when they did last.
    windows: HashMap<(BoardId, Person), HashMap<PresenceId, Instant>>,
    /// The boards that somebody here looks at.
    rooms: HashMap<BoardId, Room>,
}

/// A board with followers here.
struct Room {
    people: HashMap<PresenceId, Present>,
    /// Whose newest change has which number.
    changes: BTreeMap<u64, PresenceId>,
    /// Number of the last change.
    last: watch::Sender<u64>,
    /// When the last reading began that had an answer; before the first one, everybody is to be read.
    read_at: Option<Instant>,
}

struct Present {
    presence: Arc<Presence>,
    change: u64,
    /// When something was heard last, or the goodbye was said.
    heard: Instant,
    /// When the row was written, by the clock of the database; the earliest time until then.
    kept_at: DateTime<Utc>,
}

impl Room {
    fn new() -> Self {
        Room { people: HashMap::new(), changes: BTreeMap::new(), last: watch::Sender::new(0), read_at: None }
    }

    /// Takes over what was said, for all to be told.
    fn take(&mut self, presence: Arc<Presence>, heard: Instant, kept_at: DateTime<Utc>) {
        let id = presence.id;
        let before = self.people.get(&id).map(|person| person.change);
        let is_new = before.is_none();
        if is_new && (!presence.is_here || self.people.len() >= MOST_PEOPLE) {
            return;
        }
        if let Some(before) = before {
            self.changes.remove(&before);
        }
        let change = *self.last.borrow() + 1;
        self.changes.insert(change, id);
        self.people.insert(id, Present { presence, change, heard, kept_at });
        self.last.send_replace(change);
    }

    /// Takes over a row of the table, if it tells something new.
    fn read(&mut self, row: Presence, heard: Instant) {
        match self.people.get_mut(&row.id) {
            Some(known) if known.presence.mark == row.mark => {
                known.kept_at = known.kept_at.max(row.seen_at);
                if known.presence.is_here {
                    known.heard = known.heard.max(heard);
                }
            }
            Some(known) if known.kept_at >= row.seen_at => {}
            _ => {
                let kept_at = row.seen_at;
                self.take(Arc::new(row), heard, kept_at);
            }
        }
    }

    /// Says goodbye for those of whom nothing is heard, and forgets those who have left.
    fn sweep(&mut self, now: Instant) {
        let silent: Vec<(PresenceId, Instant)> = self
            .people
            .iter()
            .filter(|(_, person)| person.presence.is_here && now.duration_since(person.heard) > GONE_AFTER)
            .map(|(id, person)| (*id, person.heard))
            .collect();
        for (id, heard) in silent {
            if let Some(person) = self.people.get(&id) {
                let gone = Presence { is_here: false, ..Presence::clone(&person.presence) };
                let kept_at = person.kept_at;
                self.take(Arc::new(gone), heard, kept_at);
            }
        }
        let changes = &mut self.changes;
        self.people.retain(|_, person| {
            let stays = person.presence.is_here || now.duration_since(person.heard) <= REMEMBERED;
            if !stays {
                changes.remove(&person.change);
            }
            stays
        });
    }
}

impl Crowd {
    /// Begins to listen. The task ends with the last clone.
    #[must_use]
    pub fn new(table: Arc<dyn PresenceTable>) -> Self {
        let crowd = Crowd(Arc::new(Inner { table, state: Mutex::default(), wake: Notify::new() }));
        tokio::spawn(run(Arc::downgrade(&crowd.0)));
        crowd
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells followers here what was said since the last turn.
    fn tell(&self) {
        let mut state = self.state();
        let State { said, unwritten, rooms, .. } = &mut *state;
        let now = Instant::now();
        for (id, presence) in said.drain() {
            if let Some(room) = rooms.get_mut(&presence.board_id) {
                let kept_at = room.people.get(&id).map_or(DateTime::UNIX_EPOCH, |known| known.kept_at);
                room.take(Arc::clone(&presence), now, kept_at);
            }
            if unwritten.len() < MOST_WINDOWS || unwritten.contains_key(&id) {
                unwritten.insert(id, (presence, now));
            }
        }
        // By then others have let go of them, whatever the last word was.
        unwritten.retain(|_, (_, said)| now.duration_since(*said) <= GONE_AFTER);
    }

    /// Writes what is not written yet; whether there was something.
    async fn write(&self) -> Result<bool> {
        let unwritten: Vec<Arc<Presence>> =
            self.state().unwritten.values().map(|(presence, _)| Arc::clone(presence)).collect();
        for portion in unwritten.chunks(PORTION) {
            let kept_at = in_time(self.table.keep_presences(portion)).await?;
            let mut state = self.state();
            for presence in portion {
                // Nobody else adds to it: what is said meanwhile waits for the next turn.
                state.unwritten.remove(&presence.id);
                let known = state.rooms.get_mut(&presence.board_id).and_then(|room| room.people.get_mut(&presence.id));
                if let Some(known) = known.filter(|known| known.presence.mark == presence.mark) {
                    known.kept_at = kept_at;
                }
            }
        }
        Ok(!unwritten.is_empty())
    }

    /// Reads what people said elsewhere.
    async fn read(&self) -> Result<()> {
        let began = Instant::now();
        let (boards, within) = {
            let mut state = self.state();
            state.rooms.retain(|_, room| room.last.receiver_count() > 0);
            let boards: Vec<BoardId> = state.rooms.keys().copied().collect();
            let since =
                |room: &Room| room.read_at.map_or(GONE_AFTER, |read_at| began.duration_since(read_at) + OVERLAP);
            (boards, state.rooms.values().map(since).max().unwrap_or_default().min(GONE_AFTER))
        };
        if boards.is_empty() {
            return Ok(());
        }
        let read = in_time(self.table.presences(&boards, within, MOST_PEOPLE as i64)).await?;
        let now = Instant::now();
        let mut state = self.state();
        for (row, ago) in read {
            if let Some(room) = state.rooms.get_mut(&row.board_id) {
                room.read(row, now.checked_sub(ago).unwrap_or(now));
            }
        }
        boards.iter().for_each(|board| {
            if let Some(room) = state.rooms.get_mut(board) {
                room.read_at = Some(began);
            }
        });
        Ok(())
    }

    fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.rooms.values_mut().for_each(|room| room.sweep(now));
        state.windows.retain(|_, windows| {
            windows.retain(|_, heard| now.duration_since(*heard) <= GONE_AFTER);
            !windows.is_empty()
        });
    }

    fn is_idle(&self) -> bool {
        let state = self.state();
        state.said.is_empty() && state.unwritten.is_empty() && state.rooms.is_empty()
    }
}

/// Followers of this process do not wait for a database that does not answer.
async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(Code::Timeout, "The database takes too long");
    timeout(ANSWER_WITHIN, asked).await.map_err(late)?
}

async fn run(crowd: Weak<Inner>) {
    let (mut turn, mut swept, mut removed) = (0_u64, Instant::now(), Instant::now());
    let (mut has_written, mut is_failing) = (false, false);
    let mut failed: Option<Instant> = None;
    loop {
        let Some(crowd) = crowd.upgrade() else { return };
        let began = Instant::now();
        crowd.tell();
        let done = async {
            let is_due = failed.is_none_or(|failed| began.duration_since(failed) >= AFTER_FAILURE);
            let written = if is_due { crowd.write().await } else { Ok(false) };
            if is_due {
                failed = written.is_err().then(Instant::now);
            }
            // Of what could not be written, a part may be.
            has_written |= *written.as_ref().unwrap_or(&true);
            // Whether others hear what is said here or not, they are heard.
            if turn.is_multiple_of(2) {
                crowd.read().await?;
            }
            written?;
            if has_written && began.duration_since(removed) > REMOVE_EVERY {
                (has_written, removed) = (false, began);
                in_time(crowd.table.remove_presences()).await?;
            }
            Ok::<bool, Error>(is_due)
        };
        match done.await {
            Ok(is_due) => {
                if is_due && std::mem::take(&mut is_failing) {
                    tracing::info!("Presence reaches other processes again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(cause = ?error.cause(), "Presence reaches this process only: {error}");
                }
            }
        }
        if began.duration_since(swept) > SWEEP_EVERY {
            crowd.sweep();
            swept = began;
        }
        turn = turn.wrapping_add(1);
        if crowd.is_idle() {
            // The next round also sees whether anybody needs this any more.
            let _ = timeout(SWEEP_EVERY, crowd.wake.notified()).await;
        }
        drop(crowd);
        sleep_until(began + TURN).await;
    }
}

impl PresenceFeed for Crowd {
    fn show(&self, presence: Presence, person: Person) -> Outcome<()> {
        let mut state = self.0.state();
        let full = || Error::new(Code::Overloaded, "Too many people are here at the moment; try again");
        if state.said.len() >= MOST_WINDOWS || state.windows.len() >= MOST_WINDOWS {
            return Err(full().into());
        }
        let windows = state.windows.entry((presence.board_id, person)).or_default();
        if windows.len() >= person.most_windows && !windows.contains_key(&presence.id) {
            let message = format!(
                "At most {} windows of one person on a board; one that says nothing for {} seconds makes room",
                person.most_windows,
                GONE_AFTER.as_secs()
            );
            return Err(Refusal::limit("clientId", person.most_windows as i64, message).into());
        }
        if presence.is_here {
            windows.insert(presence.id, Instant::now());
        } else {
            windows.remove(&presence.id);
        }
        state.said.insert(presence.id, Arc::new(presence));
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    fn leave(&self, board: BoardId, person: &Person, user: Option<UserId>) {
        let mut state = self.0.state();
        let Some(windows) = state.windows.remove(&(board, *person)) else { return };
        for id in windows.into_keys() {
            let goodbye = Presence {
                id,
                board_id: board,
                user,
                mark: Uuid::now_v7().as_u64_pair().1.cast_signed(),
                cursor: None,
                selection: Vec::new(),
                state: None,
                is_here: false,
                seen_at: Utc::now(),
            };
            state.said.insert(id, Arc::new(goodbye));
        }
        drop(state);
        self.0.wake.notify_one();
    }

    fn follow_presence(&self, board: BoardId) -> BoxStream<'static, Arc<Presence>> {
        let last = self.0.state().rooms.entry(board).or_insert_with(Room::new).last.subscribe();
        self.0.wake.notify_one();
        let began = *last.borrow();
        let follower = Follower { crowd: self.clone(), board, began, told: 0, last };
        stream::unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) }).boxed()
    }
}

/// One who looks at a board.
struct Follower {
    crowd: Crowd,
    board: BoardId,
    /// Goodbyes up to this change are not told: those who left before never were there for this follower.
    began: u64,
    /// The last change that was told.
    told: u64,
    last: watch::Receiver<u64>,
}

impl Follower {
    async fn next(&mut self) -> Option<Arc<Presence>> {
        loop {
            while let Some((change, presence)) = self.newer() {
                self.told = change;
                if presence.is_here || change > self.began {
                    return Some(presence);
                }
            }
            self.last.changed().await.ok()?;
        }
    }

    /// The oldest of the changes that were not told, as the person is now.
    fn newer(&mut self) -> Option<(u64, Arc<Presence>)> {
        let state = self.crowd.0.state();
        let room = state.rooms.get(&self.board)?;
        self.last.mark_unchanged();
        let (change, id) = room.changes.range(self.told + 1..).next()?;
        Some((*change, Arc::clone(&room.people.get(id)?.presence)))
    }
}

#[cfg(test)]
mod tests;
