//! The threads of embedders and what waits for them: bounded, queries first, and nobody waits for ever.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use futures_util::FutureExt;
use ragboard::{
    access::Caller,
    domain::{Code, Purpose, Result, UserId},
    search::embedder::pool::Pool,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pool of one thread, which says what it is given and then waits until it may go on.
struct Gated {
    pool: Pool,
    given: Receiver<Vec<String>>,
    go_on: Sender<()>,
}

impl Gated {
    fn new(capacity: usize) -> Gated {
        let (gives, given) = channel();
        let (go_on, may_go_on) = channel();
        let (gives, may_go_on) = (Mutex::new(gives), Mutex::new(may_go_on));
        let work = move |texts: &[String], _: Purpose| {
            gives.lock().unwrap().send(texts.to_vec()).unwrap();
            may_go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            Ok(texts.iter().map(|text| Ok(vec![text.len() as f32])).collect())
        };
        Gated { pool: Pool::start(NonZeroUsize::MIN, capacity, Arc::new(work)).unwrap(), given, go_on }
    }

    fn given(&self) -> Vec<String> {
        self.given.recv_timeout(PATIENCE).unwrap()
    }

    fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Lets a call join the queue.
fn enqueue<F: Future<Output = Result<Vec<Vec<f32>>>> + Unpin>(call: &mut F) {
    assert!(call.now_or_never().is_none(), "it waits");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_queries_have_their_own() {
    let gated = Gated::new(2);
    let (working, waiting, more) = (texts(&["working"]), texts(&["a", "bb"]), texts(&["more"]));
    let mut first = Box::pin(gated.pool.run(&working, Purpose::Passage));
    enqueue(&mut first);
    assert_eq!(gated.given(), ["working"]);
    let mut second = Box::pin(gated.pool.run(&waiting, Purpose::Passage));
    enqueue(&mut second);
    let refused = gated.pool.run(&more, Purpose::Passage).now_or_never().expect("at once").unwrap_err();
    assert_eq!(refused.code(), Code::Overloaded);
    let mut query = Box::pin(gated.pool.run(&more, Purpose::Query));
    enqueue(&mut query);

    for _ in 0..3 {
        gated.go_on();
    }
    assert_eq!(first.await.unwrap(), [[7.0]]);
    assert_eq!(second.await.unwrap(), [[1.0], [2.0]]);
    assert_eq!(query.await.unwrap(), [[4.0]]);
    gated.go_on();
    assert_eq!(gated.pool.run(&more, Purpose::Passage).await.unwrap(), [[4.0]], "there is room again");
}

#[tokio::test]
async fn queries_overtake_passages() {
    let gated = Gated::new(100);
    // Too long for one turn of the thread.
    let long: Vec<String> = (0..3).map(|number| format!("{number}{}", "x".repeat(3000))).collect();
    let mut passages = Box::pin(gated.pool.run(&long, Purpose::Passage));
    enqueue(&mut passages);
    assert_eq!(gated.given(), long[..1]);
    let (one, other) = (texts(&["one"]), texts(&["other"]));
    let mut queries = [&one, &other].map(|query| Box::pin(gated.pool.run(query, Purpose::Query)));
    queries.iter_mut().for_each(enqueue);
    gated.go_on();
    assert_eq!(gated.given(), ["one", "other"], "before the rest of a call that has begun, and together");
    gated.go_on();
    for query in queries {
        query.await.unwrap();
    }
    assert!(passages.as_mut().now_or_never().is_none());
    assert_eq!(gated.given(), long[1..2]);
    gated.go_on();
    gated.go_on();
    assert_eq!(passages.await.unwrap().len(), 3);
}

#[tokio::test]
async fn calls_take_turns() {
    let gated = Gated::new(100);
    let long = |name: &str| (0..3).map(|number| format!("{name}{number}{}", "x".repeat(3000))).collect::<Vec<_>>();
    let (one, other, short) = (long("one"), long("other"), texts(&["short", "and", "quick"]));
    let mut calls = [&one, &other, &short].map(|call| Box::pin(gated.pool.run(call, Purpose::Passage)));
    enqueue(&mut calls[0]);
    assert_eq!(gated.given(), one[..1]);
    calls[1..].iter_mut().for_each(enqueue);
    for expected in [&one[1..2], &other[..1], &short[..], &one[2..], &other[1..2], &other[2..]] {
        gated.go_on();
        assert_eq!(gated.given(), expected);
    }
    gated.go_on();
    for call in calls {
        assert_eq!(call.await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn callers_take_turns_however_many_calls_they_make() {
    let gated = Gated::new(100);
    let long = |name: &str| (0..3).map(|number| format!("{name}{number}{}", "x".repeat(3000))).collect::<Vec<_>>();
    let (many, few) = (Caller::Account(UserId::generate()), Caller::Account(UserId::generate()));
    let (greedy, modest) = (["a", "b", "c"].map(long), long("modest"));
    let mut calls: Vec<_> =
        greedy.iter().map(|call| Box::pin(many.scope(gated.pool.run(call, Purpose::Passage)))).collect();
    enqueue(&mut calls[0]);
    assert_eq!(gated.given(), greedy[0][..1]);
    calls[1..].iter_mut().for_each(enqueue);
    let mut other = Box::pin(few.scope(gated.pool.run(&modest, Purpose::Passage)));
    enqueue(&mut other);
    let mut given = Vec::new();
    for _ in 0..6 {
        gated.go_on();
        given.extend(gated.given());
    }
    assert_eq!(given.iter().filter(|text| text.starts_with("modest")).count(), 3, "every second turn is the other's");
    for _ in 0..6 {
        gated.go_on();
    }
    assert_eq!(other.await.unwrap().len(), 3);
    for call in calls {
        assert_eq!(call.await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_queue_that_others_have_filled_lets_a_newcomer_in() {
    let gated = Gated::new(2);
    let (many, few) = (Caller::Account(UserId::generate()), Caller::Account(UserId::generate()));
    let (working, waiting, more) = (texts(&["working"]), texts(&["a", "bb"]), texts(&["more"]));
    let mut first = Box::pin(many.scope(gated.pool.run(&working, Purpose::Query)));
    enqueue(&mut first);
    assert_eq!(gated.given(), ["working"]);
    let mut second = Box::pin(many.scope(gated.pool.run(&waiting, Purpose::Query)));
    enqueue(&mut second);
    let refused = many.scope(gated.pool.run(&more, Purpose::Query)).now_or_never().expect("at once").unwrap_err();
    assert_eq!(refused.code(), Code::Overloaded);
    let mut newcomer = Box::pin(few.scope(gated.pool.run(&more, Purpose::Query)));
    enqueue(&mut newcomer);
    for _ in 0..3 {
        gated.go_on();
    }
    assert_eq!(newcomer.await.unwrap(), [[4.0]]);
    assert_eq!((first.await.unwrap().len(), second.await.unwrap().len()), (1, 2));
}

#[tokio::test]
async fn who_no_longer_waits_is_skipped_and_takes_no_room() {
    let gated = Gated::new(2);
    let (working, given_up, wanted) = (texts(&["working"]), texts(&["given", "up"]), texts(&["wanted"]));
    let mut first = Box::pin(gated.pool.run(&working, Purpose::Passage));
    enqueue(&mut first);
    assert_eq!(gated.given(), ["working"]);
    let mut dropped = Box::pin(gated.pool.run(&given_up, Purpose::Passage));
    enqueue(&mut dropped);
    drop(dropped);
    let mut last = Box::pin(gated.pool.run(&wanted, Purpose::Passage));
    enqueue(&mut last);
    gated.go_on();
    assert_eq!(gated.given(), ["wanted"]);
    gated.go_on();
    last.await.unwrap();
}

#[tokio::test]
async fn a_text_that_panics_spoils_only_its_own_answer() {
    let work = |texts: &[String], _: Purpose| {
        assert!(!texts.iter().any(|text| text == "poison"), "this panic belongs to the test");
        Ok(texts.iter().map(|_| Ok(vec![1.0])).collect())
    };
    let pool = Pool::start(NonZeroUsize::MIN, 100, Arc::new(work)).unwrap();
    let calls = [texts(&["before"]), texts(&["poison"]), texts(&["after", "it"])];
    let (before, poison, after) = tokio::join!(
        pool.run(&calls[0], Purpose::Passage),
        pool.run(&calls[1], Purpose::Passage),
        pool.run(&calls[2], Purpose::Passage)
    );
    assert_eq!(poison.unwrap_err().code(), Code::Internal);
    assert_eq!((before.unwrap().len(), after.unwrap().len()), (1, 2));
    assert_eq!(pool.run(&calls[0], Purpose::Query).await.unwrap(), [[1.0]], "the thread is still there");
}

#[tokio::test]
async fn too_few_vectors_are_an_error_and_not_a_wait() {
    let work = |_: &[String], _: Purpose| Ok(vec![Ok(vec![1.0])]);
    let pool = Pool::start(NonZeroUsize::MIN, 100, Arc::new(work)).unwrap();
    assert_eq!(pool.run(&texts(&["a", "b"]), Purpose::Query).await.unwrap_err().code(), Code::Internal);
}
