//! Turns of passwords that are hashed, fair between callers: who brings many does not make the others wait for all of them.
//! Other work takes turns by `turns.rs`, which knows no one who goes first and sends nobody away.
//!
//! Callers take turns, not requests. Whoever is favoured (an account, or a person at a place that is known) goes before
//! strangers, but for every fourth turn. The queue is bounded in all and for each caller. When it is full, a newcomer takes the
//! place of the newest one who waits for a caller that has more waiting, or is not favoured. What is done in a turn is not
//! known here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::Caller;
use crate::domain::{Code, Error, Result};

/// After so many turns of the favoured in a row, one of the others comes.
const FAVOURED_IN_A_ROW: u32 = 3;

/// How urgent a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Somebody of whom something good is known.
    Favoured,
    /// Anybody.
    Stranger,
}

/// Turns at a number of places. Cheap to clone; the clones share the places.
#[derive(Clone)]
pub(super) struct Turns(Arc<Shared>);

struct Shared {
    /// Who may wait in all, and for one caller.
    most_waiting: usize,
    most_of_one: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    next_id: u64,
    favoured_in_a_row: u32,
    favoured: Line,
    strangers: Line,
}

/// Those who wait, by caller, and the callers in the order of their turns.
#[derive(Default)]
struct Line {
    order: VecDeque<Caller>,
    waiting: HashMap<Caller, VecDeque<Waiter>>,
    count: usize,
}

struct Waiter {
    id: u64,
    called: oneshot::Sender<Turn>,
}

/// A place, until it is dropped.
pub(super) struct Turn(Option<Arc<Shared>>);

/// Takes somebody who does not wait any more out of the queue.
struct Place<'a> {
    shared: &'a Shared,
    caller: Caller,
    standing: Standing,
    id: u64,
}

impl Turns {
    /// So many places, and so many who may wait: in all, and for one caller.
    pub(super) fn new(places: usize, most_waiting: usize, most_of_one: usize) -> Self {
        let (favoured, strangers) = (Line::default(), Line::default());
        let state = State { free: places.max(1), next_id: 0, favoured_in_a_row: 0, favoured, strangers };
        Turns(Arc::new(Shared { most_waiting, most_of_one, state: Mutex::new(state) }))
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Overloaded` when too many wait, in all or for this caller; also later, when somebody with fewer waiting comes.
    pub(super) async fn take(&self, caller: Caller, standing: Standing) -> Result<Turn> {
        let overloaded = || Error::new(Code::Overloaded, "Too many passwords are being checked; try again");
        let (mut called, id) = {
            let mut state = self.0.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(Arc::clone(&self.0))));
            }
            let receiver =
                state.enter(caller, standing, self.0.most_waiting, self.0.most_of_one).ok_or_else(overloaded)?;
            (receiver, state.next_id)
        };
        let _place = Place { shared: &self.0, caller, standing, id };
        (&mut called).await.map_err(|_| overloaded())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, standing: Standing) -> &mut Line {
        match standing {
            Standing::Favoured => &mut self.favoured,
            Standing::Stranger => &mut self.strangers,
        }
    }

    fn enter(
        &mut self,
        caller: Caller,
        standing: Standing,
        most: usize,
        most_of_one: usize,
    ) -> Option<oneshot::Receiver<Turn>> {
        let own = self.line(standing).waiting.get(&caller).map_or(0, VecDeque::len);
        if own >= most_of_one {
            return None;
        }
        if self.favoured.count + self.strangers.count >= most && !self.make_room(standing, own) {
            return None;
        }
        self.next_id += 1;
        let (called, receiver) = oneshot::channel();
        let waiter = Waiter { id: self.next_id, called };
        self.line(standing).push(caller, waiter);
        Some(receiver)
    }

    /// Sends the newest one away who waits for the caller with the most: a stranger if there is one, and one with more waiting
    /// than the newcomer would have.
    fn make_room(&mut self, standing: Standing, own: usize) -> bool {
        let of_strangers = self.strangers.heaviest();
        match (of_strangers, standing) {
            (Some((caller, count)), _) if standing == Standing::Favoured || count > own + 1 => {
                self.strangers.send_away(caller)
            }
            (_, Standing::Favoured) => match self.favoured.heaviest() {
                Some((caller, count)) if count > own + 1 => self.favoured.send_away(caller),
                _ => false,
            },
            (_, Standing::Stranger) => false,
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let others_turn = self.favoured_in_a_row >= FAVOURED_IN_A_ROW && self.strangers.count > 0;
        if !others_turn && let Some(called) = self.favoured.pop() {
            self.favoured_in_a_row += 1;
            return Some(called);
        }
        self.favoured_in_a_row = 0;
        self.strangers.pop()
    }
}

impl Line {
    fn push(&mut self, caller: Caller, waiter: Waiter) {
        let waiting = self.waiting.entry(caller).or_default();
        if waiting.is_empty() {
            self.order.push_back(caller);
        }
        waiting.push_back(waiter);
        self.count += 1;
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let caller = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&caller)?;
        let waiter = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.order.push_back(caller);
        }
        self.count -= 1;
        Some(waiter.called)
    }

    fn heaviest(&self) -> Option<(Caller, usize)> {
        self.waiting.iter().map(|(caller, waiting)| (*caller, waiting.len())).max_by_key(|(_, count)| *count)
    }

    fn send_away(&mut self, caller: Caller) -> bool {
        let newest = self.waiting.get(&caller).and_then(|waiting| waiting.back()).map(|waiter| waiter.id);
        newest.is_some_and(|id| self.remove(caller, id))
    }

    fn remove(&mut self, caller: Caller, id: u64) -> bool {
        let Some(waiting) = self.waiting.get_mut(&caller) else { return false };
        let before = waiting.len();
        waiting.retain(|waiter| waiter.id != id);
        let removed = before - waiting.len();
        if waiting.is_empty() {
            self.waiting.remove(&caller);
            self.order.retain(|other| *other != caller);
        }
        self.count -= removed;
        removed > 0
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.state().line(self.standing).remove(self.caller, self.id);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut turn = Turn(Some(Arc::clone(&shared)));
        loop {
            let Some(called) = ({
                let mut state = shared.state();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            }) else {
                turn.0 = None;
                return;
            };
            // Who was called and has gone meanwhile gives the turn back.
            match called.send(turn) {
                Ok(()) => return,
                Err(given_back) => turn = given_back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::future::join_all;

    use super::*;

    fn address(number: u8) -> Caller {
        Caller::Address(IpAddr::from([192, 0, 2, number]).into())
    }

    /// Lets all that can go on do so.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    struct Scene {
        turns: Turns,
        order: Arc<Mutex<Vec<u8>>>,
        tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
    }

    impl Scene {
        fn new(waiting: usize, of_one: usize) -> Self {
            Scene { turns: Turns::new(1, waiting, of_one), order: Arc::default(), tasks: Vec::new() }
        }

        async fn comes(&mut self, number: u8, standing: Standing) {
            let (turns, order) = (self.turns.clone(), Arc::clone(&self.order));
            self.tasks.push(tokio::spawn(async move {
                let turn = turns.take(address(number), standing).await?;
                order.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                drop(turn);
                Ok(())
            }));
            settle().await;
        }

        /// The order in which they came to their turns, and how many were sent away.
        async fn ends(self, first: Turn) -> (Vec<u8>, usize) {
            drop(first);
            let outcomes = join_all(self.tasks).await;
            let refused = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_err()).count();
            let order = self.order.lock().unwrap().clone();
            let state = self.turns.0.state();
            assert_eq!((state.free, state.favoured.count, state.strangers.count), (1, 0, 0));
            (order, refused)
        }
    }

    #[tokio::test]
    async fn one_beside_two_hundred_waits_for_one() {
        let mut scene = Scene::new(500, 200);
        let first = scene.turns.take(address(1), Standing::Stranger).await.unwrap();
        for _ in 0..200 {
            scene.comes(1, Standing::Stranger).await;
        }
        scene.comes(2, Standing::Stranger).await;
        let (order, refused) = scene.ends(first).await;
        assert_eq!(order.iter().position(|number| *number == 2), Some(1));
        assert_eq!((order.len(), refused), (201, 0));
    }

    #[tokio::test]
    async fn the_favoured_go_first_but_for_every_fourth() {
        let mut scene = Scene::new(500, 200);
        let first = scene.turns.take(address(1), Standing::Stranger).await.unwrap();
        for stranger in 100..140 {
            scene.comes(stranger, Standing::Stranger).await;
        }
        for _ in 0..4 {
            scene.comes(2, Standing::Favoured).await;
        }
        let (order, _) = scene.ends(first).await;
        assert_eq!(order[..6], [2, 2, 2, 100, 2, 101]);
    }

    #[tokio::test]
    async fn a_full_queue_sends_away_whoever_brings_the_most() {
        let mut scene = Scene::new(6, 5);
        let first = scene.turns.take(address(1), Standing::Stranger).await.unwrap();
        for _ in 0..8 {
            scene.comes(1, Standing::Stranger).await;
        }
        for number in [2, 3, 4, 5] {
            scene.comes(number, Standing::Stranger).await;
        }
        scene.comes(6, Standing::Favoured).await;
        // Three came beyond the bound of one caller, then four of the rest made room.
        let (order, refused) = scene.ends(first).await;
        assert_eq!(order, [6, 1, 2, 3, 4, 5]);
        assert_eq!(refused, 3 + 4);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_place_taken() {
        let mut scene = Scene::new(4, 4);
        let first = scene.turns.take(address(1), Standing::Stranger).await.unwrap();
        for _ in 0..3 {
            scene.comes(1, Standing::Stranger).await;
        }
        let gone = scene.tasks.split_off(1);
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(gone).await;
        assert_eq!(scene.turns.0.state().strangers.count, 1);
        scene.comes(2, Standing::Stranger).await;
        assert_eq!(scene.ends(first).await, (vec![1, 2], 0));
    }
}
