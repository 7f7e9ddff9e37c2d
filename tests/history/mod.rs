//! Many clients at once on two gateways over one database that is cut off again and again: what everybody was told must fit
//! one history.
//!
//! Eight clients send mutations of every kind to four boards they share, alone and in batches, with ids and keys of their
//! own; what was not answered they send again under the same key, to either gateway, until they know. Eight subscribers
//! follow the boards over WebSocket and server-sent events, are cut off, and go on where they were. Meanwhile connections to
//! the database are cut: some, all, for a while, and at the moment of a commit; others are half open, or pause. Between the rounds nothing is written, and
//! the gateways must answer from memory what they answer past it. In the end is checked, for every board:
//!
//! - The log holds the versions after the first, each once, each made by one request, and none by a refused one.
//! - A small model of a board (`model.rs`), which takes the requests in the order of the log, comes to the same changes for
//!   every entry, and in the end to the rows of the database: values, places in folders, versions, and what is deleted.
//! - What the log alone says is saved and deleted comes to the nodes and links that are there, with their versions.
//! - Every request was done while its client waited for it; one that was refused, or changed nothing, would have been so at
//!   some version of that time, for the same reason.
//! - Every subscriber has heard the entries of the log, each once and in order; `Board.events` tells the same. Who keeps the links
//!   that it was told of has those that are there, restored nodes' links among them.
//! - A look after a write, through the gateway that confirmed it, shows its version or a later one, and each node as it was
//!   at some version that is not older. The same goes for nodes inside events, which are those of "now".
//! - Both gateways answer from memory, byte for byte, what they answer past it, and list what is in the model.
//!
//! Events name what changed, and not how: values are held against the model and the rows, and not against events.
//!
//! Every client draws its requests from a stream of its own, and so do subscribers and cuts. The same seed makes the same
//! choices; which of them meet is up to the machine, and versions that clients insist on are those that they have seen.
//! `RAGBOARD_HISTORY_SEED`, `RAGBOARD_HISTORY_OPERATIONS` (of all clients together) and `RAGBOARD_HISTORY_SECONDS` (instead
//! of a number of operations) say what is run; `bench/history.py` runs it for minutes.

mod check;
mod choice;
mod client;
mod document;
mod log;
mod model;
mod subscriber;

use std::{
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ragboard::domain::BoardId;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::{
    check::{Counts, History},
    choice::{BOARDS, CLIENTS},
    client::{Client, World},
    document::{EVENTS, WHOLE},
    subscriber::Subscriber,
};
use crate::support::{
    app::{Account, TestApp, new_database},
    cluster::TestFolder,
    fixture::{BoardBuilder, collaborator},
    program::{self, Server},
    proxy::{AtCommit, Proxy},
};

const OPERATIONS: usize = 2_000;
/// Rounds of a run that is bounded by operations; one that is bounded by time has as many as it takes.
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(15);
/// Over WebSocket, each of all boards.
const SOCKETS: usize = 2;
/// How long a gateway may take to show the last version without being asked past its memory.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(format!("RAGBOARD_HISTORY_{name}")).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("RAGBOARD_HISTORY_{name} is no number: {text}")))
}

/// Two gateways over one database, each with a way to it that can be cut, and four boards with everybody on them.
struct Stage {
    app: TestApp,
    accounts: Vec<Account>,
    world: Arc<World>,
    ways: [Arc<Proxy>; 2],
    servers: [Server; 2],
    _folder: TestFolder,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for server in self.servers.iter().filter(|_| std::thread::panicking()) {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the gateway said:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

impl Stage {
    async fn new() -> Stage {
        let url = new_database().await;
        let app = TestApp::on(url.clone(), &[]).await;
        let mut accounts = Vec::new();
        for number in 0..CLIENTS {
            accounts.push(app.account(&format!("client-{number}@example.org")).await);
        }
        let mut boards: Vec<BoardId> = Vec::new();
        for number in 0..BOARDS {
            let board = BoardBuilder::new(accounts[0].id, &format!("Board {number}")).make(&app).await;
            for account in &accounts[1..] {
                collaborator(&app, &board, account.id, "edit", true).await;
            }
            boards.push(board.id);
        }
        let folder = TestFolder::new("history");
        let gateway = async |name: &str| {
            let (way, along) = Proxy::to_database(&url).await;
            let secret = app.config.auth.jwt_secret.as_ref().unwrap().expose_secret();
            let variables = [
                ("DATABASE_URL", along.expose_secret()),
                ("DATABASE_POOL_SIZE", "6"),
                ("DATABASE_MAX_OVERFLOW", "4"),
                ("DATABASE_POOL_TIMEOUT", "5"),
                ("RAGBOARD_JWT_SECRET", secret),
                ("RAGBOARD_GRAPHIQL", "false"),
                ("RAGBOARD_LOG", "error"),
            ];
            (Server::start_with(&folder.path().join(name), &[], &variables).await, Arc::new(way))
        };
        let ((first, way), (second, other)) = (gateway("first").await, gateway("second").await);
        let world = World {
            boards: boards.try_into().unwrap(),
            gateways: [&first, &second].map(|server| format!("127.0.0.1:{}", server.port)),
            http: program::client(),
            told: Default::default(),
            finished: Default::default(),
            retries: Default::default(),
            resumed: Default::default(),
        };
        let world = Arc::new(world);
        Stage { app, accounts, world, ways: [way, other], servers: [first, second], _folder: folder }
    }

    /// Lets all clients work while connections to the database are cut.
    async fn round(&self, clients: Vec<Client>, seed: u64, most: usize, until: Option<Instant>) -> Vec<Client> {
        let (stop, mut stopped) = watch::channel(());
        let ways = self.ways.clone();
        let cutting = tokio::spawn(async move {
            tokio::select! {
                () = cut(&ways, seed) => {}
                _ = stopped.changed() => {}
            }
            ways.iter().for_each(|way| way.resume());
        });
        let working: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let world = Arc::clone(&self.world);
                tokio::spawn(async move {
                    client.work(&world, most, until).await;
                    client
                })
            })
            .collect();
        let mut clients = Vec::new();
        for client in working {
            clients.push(client.await.unwrap());
        }
        drop(stop);
        cutting.await.unwrap();
        clients
    }

    /// The last versions, as the database has them.
    async fn versions(&self) -> [i64; BOARDS] {
        let mut versions = [0; BOARDS];
        for (version, board) in versions.iter_mut().zip(&self.world.boards) {
            let sql = "SELECT version FROM boards WHERE id = $1::text::uuid";
            *version = self.app.sql.query_one(sql, &[&board.0.to_string()]).await.unwrap().get(0);
        }
        versions
    }

    async fn ask(
        &self,
        gateway: usize,
        headers: &[(&str, &str)],
        document: &str,
        variables: &Value,
    ) -> (Vec<u8>, Value) {
        let answer = self.world.ask(gateway, &self.accounts[1].token, headers, document, variables).await;
        let bytes = answer.expect("an answer");
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value.get("errors"), None, "{variables}");
        (bytes, value)
    }

    /// Everything on a board as a gateway tells it, page by page, and whether all of it came from memory.
    async fn told(
        &self,
        board: usize,
        gateway: usize,
        headers: &[(&str, &str)],
    ) -> (Vec<Vec<u8>>, [Vec<Value>; 2], bool) {
        let misses = self.misses(gateway).await;
        let (mut pages, mut lists) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut variables = json!({ "id": self.world.boards[board].to_string() });
        loop {
            let (bytes, answer) = self.ask(gateway, headers, WHOLE, &variables).await;
            pages.push(bytes);
            let mut has_more = false;
            for (name, list) in ["nodes", "links"].into_iter().zip(&mut lists) {
                let page = &answer["data"]["board"][name];
                // A list that has ended is asked on behind its end, while the other goes on.
                list.extend(page["nodes"].as_array().unwrap().iter().cloned());
                if page["pageInfo"]["endCursor"].is_string() {
                    variables[name] = page["pageInfo"]["endCursor"].clone();
                }
                has_more |= page["pageInfo"]["hasNextPage"] == true;
            }
            if !has_more {
                return (pages, lists, self.misses(gateway).await == misses);
            }
        }
    }

    /// How often a board was asked of the memory of a gateway and not there.
    async fn misses(&self, gateway: usize) -> String {
        let address = format!("http://{}/metrics", self.world.gateways[gateway]);
        let text = self.world.http.get(address).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("ragboard_cache_views_total{result=\"miss\"}"));
        line.expect("the metric of misses").to_owned()
    }

    /// Holds what the gateways have in memory against what they read; gives what is on each board.
    async fn compare_memory(&self) -> Vec<[Vec<Value>; 2]> {
        let versions = self.versions().await;
        let mut boards = Vec::new();
        for (board, version) in versions.into_iter().enumerate() {
            let past_memory = [("cache-control", "no-cache")];
            let (expected, lists, _) = self.told(board, 0, &past_memory).await;
            for gateway in 0..self.world.gateways.len() {
                let deadline = Instant::now() + SHOWN_WITHIN;
                loop {
                    let (pages, shown, is_from_memory) = self.told(board, gateway, &[]).await;
                    let first: Value = serde_json::from_slice(&pages[0]).unwrap();
                    if first["data"]["board"]["version"] == version {
                        assert_eq!(shown, lists, "board {board} at {version}, as gateway {gateway} has it in memory");
                        assert!(pages == expected, "board {board} at {version}, gateway {gateway}: not byte for byte");
                        if is_from_memory {
                            break;
                        }
                    }
                    assert!(Instant::now() < deadline, "gateway {gateway} never had board {board} at {version}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            boards.push(lists);
        }
        boards
    }

    /// The change log of a board as the API tells it, page by page.
    async fn check_events(&self, number: usize, history: &History) {
        let mut variables = json!({ "id": self.world.boards[number].to_string() });
        let mut events: Vec<Value> = Vec::new();
        loop {
            let (_, answer) = self.ask(number % 2, &[], EVENTS, &variables).await;
            let page = &answer["data"]["board"]["events"];
            events.extend(page["nodes"].as_array().unwrap().iter().cloned());
            if page["pageInfo"]["hasNextPage"] != true {
                break;
            }
            variables["after"] = page["pageInfo"]["endCursor"].clone();
        }
        let told: Vec<(i64, &Value, &[Value])> = events
            .iter()
            .map(|event| {
                let changes = event["changes"].as_array().unwrap_or_else(|| panic!("board {number}: {event}"));
                (event["version"].as_i64().unwrap(), &event["clientMutationId"], changes.as_slice())
            })
            .collect();
        check::events(history, &told, &format!("the events of board {number}"));
    }
}

/// Cuts connections to the database, for as long as it runs.
async fn cut(ways: &[Arc<Proxy>; 2], seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xc07);
    loop {
        tokio::time::sleep(Duration::from_millis(rng.random_range(30..500))).await;
        let way = &ways[rng.random_range(0..ways.len())];
        match rng.random_range(0..107) {
            0..38 => way.at_commit(AtCommit::LoseAnswer),
            38..62 => way.at_commit(AtCommit::LoseRequest),
            62..90 => way.sever(rng.random_range(2..6), rng.random_range(0..6)),
            90..95 => way.sever(1, 0),
            95..99 => {
                way.cut();
                tokio::time::sleep(Duration::from_millis(rng.random_range(50..300))).await;
                way.resume();
            }
            // Half open: nobody answers any more, and nothing says so.
            99..103 => {
                let all = ["looks", "feed", "followers", "presence", "wake"];
                let word = format!("ragboard {}", all[rng.random_range(0..all.len())]);
                way.hold(&[word.as_str()]);
            }
            // A container that is paused, for less and for more than a statement waits.
            103..106 => {
                way.pause();
                tokio::time::sleep(Duration::from_millis(rng.random_range(100..2600))).await;
                way.resume();
            }
            // Longer than memory counts as true without a look.
            _ => {
                way.cut();
                tokio::time::sleep(Duration::from_millis(rng.random_range(1200..1800))).await;
                way.resume();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_do_at_once_on_two_gateways_is_one_history() {
    let seed: u64 = setting("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let until = setting("SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let operations = setting("OPERATIONS").unwrap_or(if until.is_some() { usize::MAX } else { OPERATIONS });
    eprintln!("history: RAGBOARD_HISTORY_SEED={seed}");
    let stage = Stage::new().await;
    let (last, told_last) = watch::channel(None);
    // The others follow one board each, over server-sent events.
    let following: Vec<_> = (0..SOCKETS + BOARDS)
        .map(|number| {
            let boards: Vec<usize> =
                number.checked_sub(SOCKETS).map_or_else(|| (0..BOARDS).collect(), |board| vec![board]);
            let token = stage.accounts[number % CLIENTS].token.clone();
            let subscriber = Subscriber::new(seed, number, token, &stage.world, &boards);
            tokio::spawn(subscriber.follow(Arc::clone(&stage.world), told_last.clone()))
        })
        .collect();

    let accounts = stage.accounts.iter().cloned().enumerate();
    let mut clients: Vec<Client> = accounts.map(|(number, account)| Client::new(seed, number, account)).collect();
    let per_round = if until.is_some() { operations } else { operations.div_ceil(ROUNDS) };
    for round in 0.. {
        let ends = until.map(|until| until.min(Instant::now() + ROUND));
        clients = stage.round(clients, seed.wrapping_add(round), per_round.div_ceil(CLIENTS), ends).await;
        let finished = stage.world.finished.load(Ordering::Relaxed);
        eprintln!(
            "history: {finished} requests, sent again {} times, subscribers came back {} times, versions {:?}",
            stage.world.retries.load(Ordering::Relaxed),
            stage.world.resumed.load(Ordering::Relaxed),
            stage.versions().await
        );
        if finished >= operations || until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        stage.compare_memory().await;
    }
    last.send_replace(Some(stage.versions().await));
    let mut subscribers = Vec::new();
    for subscriber in following {
        subscribers.push(subscriber.await.unwrap());
    }

    let mut counts = Counts::default();
    let mut histories = Vec::new();
    for (number, id) in stage.world.boards.into_iter().enumerate() {
        let records = clients.iter().flat_map(|client| &client.records);
        let records: Vec<_> = records.filter(|record| record.operation.board == number).collect();
        let history = check::history(&stage.app.sql, id, number, &records, &mut counts).await;
        check::database(&stage.app.sql, id, number, &history).await;
        stage.check_events(number, &history).await;
        histories.push(history);
    }
    let histories: [History; BOARDS] = histories.try_into().ok().unwrap();
    for (number, [nodes, links]) in stage.compare_memory().await.iter().enumerate() {
        check::listed(&histories[number], number, nodes, links);
    }
    for sight in clients.iter().flat_map(|client| &client.sights) {
        check::sight(&histories[sight.board], sight);
        counts.sights += 1;
    }
    subscribers.iter().for_each(|subscriber| check::subscriber(&histories, subscriber, &mut counts));
    eprintln!("history: {counts:?}");
    // A run in which little happens shows little.
    assert!(counts.versions * 3 > stage.world.finished.load(Ordering::Relaxed), "{counts:?}");
}
