//! Turns: bounded work at once, shared fairly between callers.
//!
//! A caller has at most a share of all turns, and what it asks for beyond that waits in a queue of its own. A turn that
//! becomes free goes to the callers in rotation, and within a caller to who came first. Queues are bounded; a waiter that
//! is dropped leaves nothing behind. How long a waiter has patience is its own business, and so is what the turn is for.

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

/// Waiters of all callers together, for each one that a single caller may have.
const QUEUES: usize = 16;

/// How many turns there are.
#[derive(Clone, Copy, Debug)]
pub struct TurnLimits {
    /// Turns held at the same time by all callers, from 1.
    pub at_once: usize,
    /// Turns held at the same time by one caller, from 1. The program itself may hold all but one.
    pub share: usize,
    /// Waiters of one caller; more are refused.
    pub waiting: usize,
}

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
    callers: HashMap<Caller, Line>,
    /// Callers that wait and may have one more turn, in the order in which they get it.
    rotation: BTreeMap<u64, Caller>,
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

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
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
    /// `RateLimited` when too many wait for this caller already, `Overloaded` when too many wait at all.
    pub async fn take(&self, caller: Caller) -> Result<Turn> {
        let mut waiter = match self.0.ask(caller)? {
            Ok(turn) => return Ok(turn),
            Err(waiter) => waiter,
        };
        // The sender lives in the state until it is used.
        let granted = (&mut waiter.granted).await;
        waiter.is_done = true;
        granted.map_err(Error::internal)?;
        Ok(Turn::of(&self.0, caller))
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self, caller: Caller) -> usize {
        match caller {
            Caller::System => self.limits.at_once.saturating_sub(1).max(1),
            _ => self.limits.share.min(self.limits.at_once),
        }
    }

    /// A turn, or a place among the waiters.
    fn ask(self: &Arc<Self>, caller: Caller) -> Result<Result<Turn, Waiter>> {
        let share = self.share(caller);
        let mut guard = self.lock();
        let state = &mut *guard;
        let number = state.number();
        let line = state.callers.entry(caller).or_default();
        // While a turn is free, nobody waits who may have it.
        if state.held < self.limits.at_once && line.held < share {
            line.held += 1;
            state.held += 1;
            return Ok(Ok(Turn::of(self, caller)));
        }
        let refusal = if line.waiters.len() >= self.limits.waiting {
            Some((Code::RateLimited, "Too much of what you asked for is waiting; ask again when it is answered"))
        } else if state.waiting >= self.limits.waiting.saturating_mul(QUEUES) {
            Some((Code::Overloaded, "The server is busy; try again"))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            state.tidy(caller);
            return Err(Error::new(code, message));
        }
        let (sender, granted) = oneshot::channel();
        line.waiters.insert(number, sender);
        state.waiting += 1;
        state.line_up(caller, share);
        let waiter = Waiter { turns: Arc::clone(self), caller, number, granted, is_done: false, since: Instant::now() };
        Ok(Err(waiter))
    }

    fn give_back(&self, caller: Caller) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(1);
        if let Some(line) = state.callers.get_mut(&caller) {
            line.held = line.held.saturating_sub(1);
        }
        state.line_up(caller, self.share(caller));
        while state.held < self.limits.at_once {
            let Some((_, next)) = state.rotation.pop_first() else { break };
            state.grant(next);
            state.line_up(next, self.share(next));
        }
        state.tidy(caller);
    }
}

impl State {
    /// Puts a caller at the end of the rotation if it waits and may have one more.
    fn line_up(&mut self, caller: Caller, share: usize) {
        let number = self.number();
        let Some(line) = self.callers.get_mut(&caller) else { return };
        if line.place.is_none() && !line.waiters.is_empty() && line.held < share {
            line.place = Some(number);
            self.rotation.insert(number, caller);
        }
    }

    /// Gives a turn to the first waiter of a caller that was in the rotation.
    fn grant(&mut self, caller: Caller) {
        let Some(line) = self.callers.get_mut(&caller) else { return };
        line.place = None;
        let Some((_, waiter)) = line.waiters.pop_first() else { return };
        self.waiting -= 1;
        line.held += 1;
        self.held += 1;
        // The waiter is alive: it takes itself out of the line before it ends.
        let _ = waiter.send(());
    }

    /// Takes a waiter out, if it waits still.
    fn leave(&mut self, caller: Caller, number: u64) -> bool {
        let Some(line) = self.callers.get_mut(&caller) else { return false };
        let left = line.waiters.remove(&number).is_some();
        if left {
            self.waiting -= 1;
        }
        if let Some(place) = line.place.take_if(|_| line.waiters.is_empty()) {
            self.rotation.remove(&place);
        }
        self.tidy(caller);
        left
    }

    /// Forgets a caller that neither holds nor awaits anything.
    fn tidy(&mut self, caller: Caller) {
        if let Entry::Occupied(line) = self.callers.entry(caller)
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
    caller: Caller,
    number: u64,
    granted: oneshot::Receiver<()>,
    is_done: bool,
    since: Instant,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.turns.waited_us.fetch_add(waited, Ordering::Relaxed);
        if !self.is_done && !self.turns.lock().leave(self.caller, self.number) {
            // It was given a turn in this very moment.
            self.turns.give_back(self.caller);
        }
    }
}

/// A turn. It is free again when this is dropped.
pub struct Turn {
    turns: Arc<Shared>,
    caller: Caller,
    is_over: AtomicBool,
}

impl Turn {
    fn of(turns: &Arc<Shared>, caller: Caller) -> Self {
        Turn { turns: Arc::clone(turns), caller, is_over: AtomicBool::new(false) }
    }

    /// Gives the turn back before it is dropped, for work that goes on and only waits from now on.
    pub fn give_back(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.turns.give_back(self.caller);
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
