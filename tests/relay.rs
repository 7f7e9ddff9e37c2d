//! Processes wake each other: what one tells, the others hear, and nobody hears itself. After a lost connection everybody is
//! told to look by themselves.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ragboard::{
    domain::{
        BoardId,
        ports::{Heard, Wake},
    },
    events::Relay,
    store::WakeWires,
};
use secrecy::SecretString;
use serde_json::json;

use crate::support::{
    app::{TestApp, new_database},
    cluster::connect,
    fixture::BoardBuilder,
    patience::PATIENCE,
    proxy::Proxy,
    sql::until,
};

/// Remembers what it heard.
#[derive(Default)]
struct Ear(Mutex<Vec<Heard>>);

impl Wake for Ear {
    fn woken(&self, heard: &Heard) {
        self.0.lock().unwrap().push(heard.clone());
    }
}

impl Ear {
    fn of(relay: &Relay) -> Arc<Ear> {
        let ear = Arc::new(Ear::default());
        relay.attach(Arc::<Ear>::clone(&ear));
        ear
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Heard]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.0.lock().unwrap()) {
            assert!(Instant::now() < deadline, "never heard {what}: {:?}", self.0.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn boards(&self) -> usize {
        count(&self.0.lock().unwrap())
    }

    /// The boards of all messages.
    fn heard(&self) -> BTreeSet<BoardId> {
        let heard = self.0.lock().unwrap();
        let boards = heard.iter().filter_map(|heard| match heard {
            Heard::Boards(boards) => Some(boards),
            Heard::Any => None,
        });
        boards.flatten().copied().collect()
    }
}

fn count(heard: &[Heard]) -> usize {
    heard.iter().map(|heard| if let Heard::Boards(boards) = heard { boards.len() } else { 0 }).sum()
}

fn relay(url: &SecretString) -> (Relay, Arc<Ear>) {
    let relay = Relay::new(Box::new(WakeWires::new(url).unwrap()));
    let ear = Ear::of(&relay);
    (relay, ear)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_tells_the_others_hear() {
    let url = new_database().await;
    let ((one, own_ear), (_two, ear), (_three, other_ear)) = (relay(&url), relay(&url), relay(&url));
    for ear in [&own_ear, &ear, &other_ear] {
        ear.until("that it listens", |heard| heard.contains(&Heard::Any)).await;
    }
    let boards: Vec<BoardId> = (0..1_000).map(|_| BoardId::generate()).collect();
    let mut told = 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        boards.iter().chain(&boards[..10]).for_each(|board| one.changed(*board));
        told += 1;
        let last = Instant::now() + Duration::from_secs(5);
        let all = |ear: &Ear| ear.heard().len() >= boards.len();
        while !(all(&ear) && all(&other_ear)) && Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if all(&ear) && all(&other_ear) {
            break;
        }
        // What cannot be told in time is not told: waking is a hint.
        assert!(Instant::now() < deadline, "{} and {} boards", ear.heard().len(), other_ear.heard().len());
    }
    for ear in [&ear, &other_ear] {
        assert_eq!(ear.heard().into_iter().collect::<Vec<_>>(), boards);
        assert!(ear.0.lock().unwrap().len() < 100 * told, "a storm is a few messages");
    }
    assert_eq!(own_ear.boards(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_everybody_looks() {
    let url = new_database().await;
    let (proxy, along) = Proxy::to_database(&url).await;
    let ((teller, _), (_hearer, ear)) = (relay(&url), relay(&along));
    ear.until("that it listens", |heard| !heard.is_empty()).await;
    let before = ear.0.lock().unwrap().len();
    proxy.cut();
    let gone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'ragboard wake' AND datname = current_database()";
    until(&connect(&url).await, gone).await;
    proxy.resume();
    // Where its connection is given up on because the machine is slow, it is told so once more.
    ear.until("to look by itself", |heard| heard.len() > before).await;
    assert!(ear.0.lock().unwrap().iter().all(|heard| *heard == Heard::Any));
    let board = BoardId::generate();
    let deadline = Instant::now() + PATIENCE;
    while ear.boards() == 0 {
        teller.changed(board);
        assert!(Instant::now() < deadline, "nothing is heard on the new connection");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_read_at_the_version_that_was_written_elsewhere() {
    let one = TestApp::new().await;
    let two = TestApp::on(one.url.clone(), &[]).await;
    let owner = one.account("owner@example.org").await;
    let board = BoardBuilder::new(owner.id, "Board").nodes(10).make(&one).await;
    let id = board.id.to_string();
    let read = "query ($id: ID!, $version: Int) { board(id: $id, minVersion: $version) { version nodes(first: 1) { totalCount } } }";
    let write =
        "mutation ($input: CreateResourceNodeInput!) { createResourceNode(input: $input) { board { version } } }";
    two.data(Some(&owner), read, json!({ "id": id })).await;
    two.app.cached.settled().await;
    for round in 1..=20 {
        let made = one.data(Some(&owner), write, json!({ "input": { "boardId": id, "title": "New" } })).await;
        let version = made["createResourceNode"]["board"]["version"].clone();
        let board = two.data(Some(&owner), read, json!({ "id": id, "version": version })).await["board"].take();
        assert_eq!(board, json!({ "version": version, "nodes": { "totalCount": 10 + round } }));
    }
    // What nobody has written is waited for, and not for ever.
    assert_eq!(two.code(Some(&owner), read, json!({ "id": id, "version": 1_000 })).await, "TIMEOUT");
    // Who may not see the board does not learn that it is there.
    let stranger = one.account("stranger@example.org").await;
    let none = two.data(Some(&stranger), read, json!({ "id": id, "version": 1_000 })).await;
    assert_eq!(none, json!({ "board": null }));
}
