//! Turns: bounded work at once, shared fairly between callers.
//!
//! A caller has at most a share of all turns, and what it asks for beyond that waits in a queue of its own. A turn that
//! becomes free goes to the callers in rotation, and within a caller to who came first. Callers of high priority go first,
//! but for every fourth turn. Queues are bounded for each caller and in all. When all are full, a newcomer takes the place
//! of the newest waiter of a heavier caller. A waiter that is dropped leaves nothing behind. How long a waiter has patience
//! is its own business, and so is what the turn is for.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::Caller;
use crate::domain::{Code, Error, Result};

/// After so many turns of high priority in a row, one of the others comes.
const HIGH_IN_A_ROW: u32 = 3;

/// How many turns there are.
#[derive(Clone, Copy, Debug)]
pub struct TurnLimits {
    /// Turns held at the same time by all callers, from 1.
    pub at_once: usize,
    /// Turns held at the same time by one caller, from 1. The program itself may hold all but one.
    pub share: usize,
    /// Waiters of one caller; more are refused.
    pub waiting: usize,
    /// Waiters of all callers together.
    pub waiting_in_all: usize,
}

impl TurnLimits {
    /// With a queue of `waiting` for each caller, and of sixteen times as many for all together.
    #[must_use]
    pub const fn new(at_once: usize, share: usize, waiting: usize) -> Self {
        TurnLimits { at_once, share, waiting, waiting_in_all: waiting.saturating_mul(16) }
    }
}

/// How soon a caller comes to its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody of whom something good is known.
    High,
    /// Anybody.
    Normal,
}

/// Who waits: a caller is counted apart for each of its priorities.
type Key = (Priority, Caller);

/// Hands out turns. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    limits: TurnLimits,
    state: Mutex<State>,
    waited_us: AtomicU64,
}

#[derive(Default)]
struct State {
    held: usize,
    waiting: usize,
    /// Callers that hold a turn or wait for one.
    callers: HashMap<Key, Line>,
    /// Callers that wait and may have one more turn, in the order in which they get it: of high priority, and the others.
    high: BTreeMap<u64, Caller>,
    normal: BTreeMap<u64, Caller>,
    high_in_a_row: u32,
    /// Numbers given out so far, to waiters and to places in the rotation.
    numbers: u64,
}

/// The turns and the waiters of one caller.
#[derive(Default)]
struct Line {
    held: usize,
    waiters: BTreeMap<u64, oneshot::Sender<()>>,
    /// Its place in the rotation.
    place: Option<u64>,
}

impl Turns {
    /// No turn is taken yet.
    #[must_use]
    pub fn new(limits: TurnLimits) -> Self {
        Turns(Arc::new(Shared { limits, state: Mutex::default(), waited_us: AtomicU64::new(0) }))
    }

    /// Waits for a turn of this caller. It is given back when the answer is dropped.
    ///
    /// # Errors
    /// `RateLimited` when too many wait for this caller already. `Overloaded` when too many wait at all; also later, when
    /// somebody comes for whom fewer wait.
    pub async fn take(&self, caller: Caller) -> Result<Turn> {
        self.take_with(caller, Priority::Normal).await
    }

    /// The same with a priority.
    ///
    /// # Errors
    /// As [`Turns::take`].
    pub async fn take_with(&self, caller: Caller, priority: Priority) -> Result<Turn> {
        let key = (priority, caller);
        let mut waiter = match self.0.ask(key)? {
            Ok(turn) => return Ok(turn),
            Err(waiter) => waiter,
        };
        let granted = (&mut waiter.granted).await;
        waiter.is_done = true;
        // The sender lives in the state until it is used, or until somebody else has its place.
        granted.map_err(|_| overloaded())?;
        Ok(Turn::of(&self.0, key))
    }

    /// Waiters at this moment.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting
    }

    /// Turns held at this moment.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.lock().held
    }

    /// Time that all waiters together waited until they had a turn or left.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.0.waited_us.load(Ordering::Relaxed))
    }
}

fn overloaded() -> Error {
    Error::new(Code::Overloaded, "The server is busy; try again")
}

/// How heavy a caller is with so many waiters. Of two, the one of lower priority is heavier, then the one without a name,
/// then the one with more waiters.
fn weight((priority, caller): Key, waiters: usize) -> (Priority, bool, usize) {
    (priority, matches!(caller, Caller::Address(_)), waiters)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self, (_, caller): Key) -> usize {
        match caller {
            Caller::System => self.limits.at_once.saturating_sub(1).max(1),
            _ => self.limits.share.min(self.limits.at_once),
        }
    }

    /// A turn, or a place among the waiters.
    fn ask(self: &Arc<Self>, key: Key) -> Result<Result<Turn, Waiter>> {
        let share = self.share(key);
        let mut guard = self.lock();
        let state = &mut *guard;
        let line = state.callers.entry(key).or_default();
        // While a turn is free, nobody waits who may have it.
        if state.held < self.limits.at_once && line.held < share {
            line.held += 1;
            state.held += 1;
            return Ok(Ok(Turn::of(self, key)));
        }
        let waiters = line.waiters.len();
        let refusal = if waiters >= self.limits.waiting {
            Some(Error::new(
                Code::RateLimited,
                "Too much of what you asked for is waiting; ask again when it is answered",
            ))
        } else if state.waiting >= self.limits.waiting_in_all && !state.make_room(weight(key, waiters + 1)) {
            Some(overloaded())
        } else {
            None
        };
        if let Some(refusal) = refusal {
            state.tidy(key);
            return Err(refusal);
        }
        let number = state.number();
        let (sender, granted) = oneshot::channel();
        state.callers.entry(key).or_default().waiters.insert(number, sender);
        state.waiting += 1;
        state.line_up(key, share);
        let waiter = Waiter { turns: Arc::clone(self), key, number, granted, is_done: false, since: Instant::now() };
        Ok(Err(waiter))
    }

    fn give_back(&self, key: Key) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(1);
        if let Some(line) = state.callers.get_mut(&key) {
            line.held = line.held.saturating_sub(1);
        }
        state.line_up(key, self.share(key));
        while state.held < self.limits.at_once {
            let Some(next) = state.next() else { break };
            state.grant(next);
            state.line_up(next, self.share(next));
        }
        state.tidy(key);
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn rotation(&mut self, priority: Priority) -> &mut BTreeMap<u64, Caller> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
        }
    }

    /// Puts a caller at the end of its rotation if it waits and may have one more.
    fn line_up(&mut self, key: Key, share: usize) {
        let number = self.number();
        let Some(line) = self.callers.get_mut(&key) else { return };
        if line.place.is_none() && !line.waiters.is_empty() && line.held < share {
            line.place = Some(number);
            self.rotation(key.0).insert(number, key.1);
        }
    }

    /// Takes the caller who comes next out of its rotation.
    fn next(&mut self) -> Option<Key> {
        let is_others_turn = self.high_in_a_row >= HIGH_IN_A_ROW && !self.normal.is_empty();
        if !is_others_turn && let Some((_, caller)) = self.high.pop_first() {
            self.high_in_a_row += 1;
            return Some((Priority::High, caller));
        }
        self.high_in_a_row = 0;
        self.normal.pop_first().map(|(_, caller)| (Priority::Normal, caller))
    }

    /// Gives a turn to the first waiter of a caller that was in the rotation.
    fn grant(&mut self, key: Key) {
        let Some(line) = self.callers.get_mut(&key) else { return };
        line.place = None;
        let Some((_, waiter)) = line.waiters.pop_first() else { return };
        self.waiting -= 1;
        line.held += 1;
        self.held += 1;
        // The waiter is alive: it takes itself out of the line before it ends.
        let _ = waiter.send(());
    }

    /// Sends away the newest waiter of the heaviest caller, if that one is heavier than the newcomer is going to be. The
    /// program itself is spared: nobody would tell it to try again.
    fn make_room(&mut self, newcomer: (Priority, bool, usize)) -> bool {
        let waiting =
            self.callers.iter().filter(|((_, caller), line)| *caller != Caller::System && !line.waiters.is_empty());
        let heaviest =
            waiting.map(|(key, line)| (weight(*key, line.waiters.len()), *key)).max_by_key(|(weight, _)| *weight);
        let Some((_, key)) = heaviest.filter(|(weight, _)| *weight > newcomer) else { return false };
        let newest = self.callers.get(&key).and_then(|line| line.waiters.last_key_value()).map(|(number, _)| *number);
        newest.is_some_and(|number| self.leave(key, number))
    }

    /// Takes a waiter out, if it waits still.
    fn leave(&mut self, key: Key, number: u64) -> bool {
        let Some(line) = self.callers.get_mut(&key) else { return false };
        let left = line.waiters.remove(&number).is_some();
        if left {
            self.waiting -= 1;
        }
        if let Some(place) = line.place.take_if(|_| line.waiters.is_empty()) {
            self.rotation(key.0).remove(&place);
        }
        self.tidy(key);
        left
    }

    /// Forgets a caller that neither holds nor awaits anything.
    fn tidy(&mut self, key: Key) {
        if let Entry::Occupied(line) = self.callers.entry(key)
            && line.get().held == 0
            && line.get().waiters.is_empty()
        {
            line.remove();
        }
    }
}

/// A place among the waiters.
struct Waiter {
    turns: Arc<Shared>,
    key: Key,
    number: u64,
    granted: oneshot::Receiver<()>,
    is_done: bool,
    since: Instant,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.turns.waited_us.fetch_add(waited, Ordering::Relaxed);
        if self.is_done || self.turns.lock().leave(self.key, self.number) {
            return;
        }
        // In this very moment it was given a turn, or sent away.
        if self.granted.try_recv().is_ok() {
            self.turns.give_back(self.key);
        }
    }
}

/// A turn. It is free again when this is dropped.
pub struct Turn {
    turns: Arc<Shared>,
    key: Key,
    is_over: AtomicBool,
}

impl Turn {
    fn of(turns: &Arc<Shared>, key: Key) -> Self {
        Turn { turns: Arc::clone(turns), key, is_over: AtomicBool::new(false) }
    }

    /// Gives the turn back before it is dropped, for work that goes on and only waits from now on.
    pub fn give_back(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.turns.give_back(self.key);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
