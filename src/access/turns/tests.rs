//! What turns promise, by the order in which waiters are served.

use std::{net::IpAddr, pin::Pin};

use futures_util::{FutureExt, future::BoxFuture, poll};

use super::*;

fn caller(number: u8) -> Caller {
    Caller::Address(IpAddr::from([192, 0, 2, number]).into())
}

fn turns(at_once: usize, share: usize, waiting: usize) -> Turns {
    Turns::new(TurnLimits::new(at_once, share, waiting))
}

type Taking = Pin<Box<dyn Future<Output = Result<Turn>> + Send>>;

/// Asks, and waits no longer than until it is known whether there is a turn at once.
async fn ask(turns: &Turns, caller: Caller) -> Result<Result<Turn>, Taking> {
    let turns = turns.clone();
    let mut taking: BoxFuture<'static, Result<Turn>> = async move { turns.take(caller).await }.boxed();
    match poll!(&mut taking) {
        std::task::Poll::Ready(taken) => Ok(taken),
        std::task::Poll::Pending => Err(taking),
    }
}

async fn taken(turns: &Turns, caller: Caller) -> Turn {
    ask(turns, caller).await.ok().unwrap().unwrap()
}

async fn waits(turns: &Turns, caller: Caller) -> Taking {
    ask(turns, caller).await.err().unwrap()
}

#[tokio::test]
async fn one_caller_has_its_share_and_the_next_finds_a_turn() {
    let turns = turns(3, 2, 10);
    let (_a, _b) = (taken(&turns, caller(1)).await, taken(&turns, caller(1)).await);
    let mut third = waits(&turns, caller(1)).await;
    let other = taken(&turns, caller(2)).await;
    drop(other);
    assert!(poll!(&mut third).is_pending());
}

#[tokio::test]
async fn a_hundred_waiters_of_one_caller_let_another_past_after_one_release() {
    let turns = turns(2, 2, 1000);
    let first = taken(&turns, caller(1)).await;
    let _second = taken(&turns, caller(1)).await;
    let mut queue = Vec::new();
    for _ in 0..100 {
        queue.push(waits(&turns, caller(1)).await);
    }
    let mut innocent = waits(&turns, caller(2)).await;
    drop(first);
    // The rotation began with the caller who was there first; whose share is full stands aside.
    let mut served = 0;
    for waiter in &mut queue {
        served += usize::from(poll!(&mut *waiter).is_ready());
    }
    let innocent_is_served = poll!(&mut innocent).is_ready();
    assert_eq!((served, innocent_is_served), (0, true));
}

#[tokio::test]
async fn callers_take_turns_and_each_of_them_in_order() {
    let turns = turns(1, 1, 10);
    let mut held = taken(&turns, caller(9)).await;
    let mut waiters = Vec::new();
    for (number, name) in [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (2, "2b"), (3, "3a")] {
        waiters.push((name, waits(&turns, caller(number)).await));
    }
    let mut order = Vec::new();
    while !waiters.is_empty() {
        drop(held);
        let mut next = None;
        for (place, (_, waiter)) in waiters.iter_mut().enumerate() {
            if let std::task::Poll::Ready(turn) = poll!(waiter) {
                assert!(next.is_none());
                next = Some((place, turn.unwrap()));
            }
        }
        let (place, turn) = next.unwrap();
        order.push(waiters.remove(place).0);
        held = turn;
    }
    assert_eq!(order, ["1a", "2a", "3a", "1b", "2b", "1c"]);
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_behind() {
    let turns = turns(1, 1, 2);
    let held = taken(&turns, caller(1)).await;
    let first = waits(&turns, caller(2)).await;
    let mut second = waits(&turns, caller(2)).await;
    assert_eq!(ask(&turns, caller(2)).await.ok().unwrap().err().unwrap().code(), Code::RateLimited);
    drop(first);
    let third = waits(&turns, caller(2)).await;
    drop(held);
    // It has been given the turn and is dropped before it knows.
    assert_eq!((turns.held(), turns.waiting()), (1, 1));
    drop(third);
    assert!(poll!(&mut second).is_ready());
    drop(second);
    assert_eq!((turns.held(), turns.waiting(), turns.0.lock().callers.len()), (0, 0, 0));
    let lost = waits_and_is_granted(&turns).await;
    drop(lost);
    assert_eq!((turns.held(), turns.waiting()), (0, 0));
    drop(taken(&turns, caller(3)).await);
    let state = turns.0.lock();
    assert!(state.callers.is_empty() && state.normal.is_empty());
}

async fn waits_and_is_granted(turns: &Turns) -> Taking {
    let held = taken(turns, caller(1)).await;
    let waiting = waits(turns, caller(2)).await;
    drop(held);
    assert_eq!((turns.held(), turns.waiting()), (1, 0));
    waiting
}

#[tokio::test]
async fn queues_are_bounded_for_all_together() {
    let turns = turns(1, 1, 1);
    let _held = taken(&turns, Caller::System).await;
    let mut queue = Vec::new();
    for number in 0..16 {
        queue.push(waits(&turns, caller(number)).await);
    }
    assert_eq!(ask(&turns, caller(99)).await.ok().unwrap().err().unwrap().code(), Code::Overloaded);
    assert_eq!(turns.0.lock().callers.len(), 17);
}

#[tokio::test]
async fn the_program_leaves_one_turn_for_others() {
    let turns = turns(3, 2, 10);
    let (_a, _b) = (taken(&turns, Caller::System).await, taken(&turns, Caller::System).await);
    let _waits = waits(&turns, Caller::System).await;
    let _user = taken(&turns, caller(1)).await;
}

#[tokio::test]
async fn a_turn_is_given_back_once() {
    let turns = turns(1, 1, 1);
    let turn = taken(&turns, caller(1)).await;
    turn.give_back();
    let _other = taken(&turns, caller(2)).await;
    drop(turn);
    assert_eq!(turns.held(), 1);
}

/// Waiters of named callers, who are served one after the other.
struct Queue {
    turns: Turns,
    waiters: Vec<(u8, Taking)>,
}

impl Queue {
    fn new(waiting: usize, waiting_in_all: usize) -> Self {
        let limits = TurnLimits { at_once: 1, share: 1, waiting, waiting_in_all };
        Queue { turns: Turns::new(limits), waiters: Vec::new() }
    }

    async fn comes(&mut self, number: u8, priority: Priority) {
        let turns = self.turns.clone();
        let mut taking: Taking = async move { turns.take_with(caller(number), priority).await }.boxed();
        if poll!(&mut taking).is_pending() {
            self.waiters.push((number, taking));
        }
    }

    /// The order in which they come to their turns, and how many were sent away.
    async fn ends(mut self, mut held: Turn) -> (Vec<u8>, usize) {
        let (mut order, mut sent_away) = (Vec::new(), 0);
        while !self.waiters.is_empty() {
            drop(held);
            let mut next = None;
            let mut still = Vec::new();
            for (number, mut taking) in self.waiters.drain(..) {
                match poll!(&mut taking) {
                    std::task::Poll::Ready(Ok(turn)) => next = Some((number, turn)),
                    std::task::Poll::Ready(Err(error)) => {
                        assert_eq!(error.code(), Code::Overloaded);
                        sent_away += 1;
                    }
                    std::task::Poll::Pending => still.push((number, taking)),
                }
            }
            self.waiters = still;
            let Some((number, turn)) = next else { break };
            order.push(number);
            held = turn;
        }
        assert_eq!((self.turns.waiting(), self.waiters.len()), (0, 0));
        (order, sent_away)
    }
}

#[tokio::test]
async fn high_priority_goes_first_but_for_every_fourth_turn() {
    let mut queue = Queue::new(200, 500);
    let held = taken(&queue.turns, caller(1)).await;
    for number in 100..140 {
        queue.comes(number, Priority::Normal).await;
    }
    for _ in 0..4 {
        queue.comes(2, Priority::High).await;
    }
    let (order, _) = queue.ends(held).await;
    assert_eq!(order[..6], [2, 2, 2, 100, 2, 101]);
}

#[tokio::test]
async fn a_full_queue_sends_away_whoever_brings_the_most() {
    let mut queue = Queue::new(5, 6);
    let held = taken(&queue.turns, caller(1)).await;
    // Three come beyond the bound of one caller.
    for _ in 0..8 {
        queue.comes(1, Priority::Normal).await;
    }
    assert_eq!(queue.waiters.len(), 5);
    for number in [2, 3, 4, 5] {
        queue.comes(number, Priority::Normal).await;
    }
    queue.comes(6, Priority::High).await;
    // Four of the rest made room for one caller each. Whoever had the turn comes last.
    assert_eq!(queue.ends(held).await, (vec![6, 2, 3, 4, 5, 1], 4));
}

#[tokio::test]
async fn accounts_take_the_places_of_those_without_a_name() {
    let turns = turns(1, 1, 1);
    let held = taken(&turns, Caller::System).await;
    let mut nameless = Vec::new();
    for number in 0..16 {
        nameless.push(waits(&turns, caller(number)).await);
    }
    let mut account = waits(&turns, Caller::Account(crate::domain::UserId::generate())).await;
    let mut sent_away = 0;
    for waiter in &mut nameless {
        sent_away += usize::from(matches!(poll!(waiter), std::task::Poll::Ready(Err(_))));
    }
    assert_eq!((sent_away, turns.waiting()), (1, 16));
    drop((held, nameless));
    assert!(poll!(&mut account).is_ready());
}

#[tokio::test]
async fn who_was_sent_away_and_leaves_gives_nothing_back() {
    let turns = Turns::new(TurnLimits { at_once: 1, share: 1, waiting: 5, waiting_in_all: 2 });
    let held = taken(&turns, caller(1)).await;
    let (first, second) = (waits(&turns, caller(2)).await, waits(&turns, caller(2)).await);
    let third = waits(&turns, caller(3)).await;
    // It does not know yet that it has no place any more.
    drop(second);
    assert_eq!((turns.held(), turns.waiting()), (1, 2));
    drop((first, third, held));
    assert_eq!((turns.held(), turns.waiting(), turns.0.lock().callers.len()), (0, 0, 0));
}
