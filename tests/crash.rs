//! The gateway is killed in the midst of a storm of writes, again and again: what was confirmed is there, nothing is there by
//! half, and what was not confirmed is done exactly once when it is asked for again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    app::{Account, TestApp, new_database},
    cluster::TestFolder,
    fixture::{Board, BoardBuilder, collaborator},
    program::{self, Server},
    sql::values,
};

const CLIENTS: usize = 6;
const KILLS: usize = 5;
/// Requests that are confirmed between two kills.
const STORM: usize = 60;
/// Nodes that one batch makes.
const MADE: usize = 4;
/// How long a request may stay unknown: a gateway is away for a second or two.
const KNOWN_WITHIN: Duration = Duration::from_secs(120);

/// What clients share.
struct World {
    http: reqwest::Client,
    /// Address of the gateway that runs, or will run soon.
    gateway: watch::Receiver<String>,
    boards: Vec<Board>,
    confirmed: watch::Sender<usize>,
    unknown: AtomicUsize,
    is_over: AtomicBool,
}

/// One request of a client: a batch, or the mutation for one node. All carry their key as title or name of what they make.
struct Request {
    key: String,
    board: usize,
    body: String,
}

impl Request {
    fn new(client: usize, number: usize, boards: &[Board]) -> Request {
        let key = format!("{client}-{number}");
        let at = number % boards.len();
        let (board, shared) = (boards[at].id.to_string(), boards[at].nodes[0].to_string());
        let (name, type_name, mut input) = if number.is_multiple_of(3) {
            let position = json!({ "x": client as f64, "y": number as f64 });
            ("createFolderNode", "CreateFolderNodeInput", json!({ "name": key, "position": position }))
        } else {
            let make = json!({ "createResource": { "title": key, "content": format!("Content of {key}") } });
            let mut changes = vec![make; MADE];
            changes.push(json!({ "moveNode": { "id": shared, "position": { "x": client, "y": number } } }));
            changes.push(json!({ "updateBoard": { "description": key } }));
            ("applyBoardChanges", "ApplyBoardChangesInput", json!({ "changes": changes }))
        };
        for (field, value) in [("boardId", &board), ("idempotencyKey", &key), ("clientMutationId", &key)] {
            input[field] = json!(value);
        }
        let document = format!(
            "mutation ($input: {type_name}!) {{ payload: {name}(input: $input) {{ board {{ version }} \
             userErrors {{ __typename message }} }} }}"
        );
        Request { key, board: at, body: json!({ "query": document, "variables": { "input": input } }).to_string() }
    }

    /// Sends it once; whether it is known to be done.
    async fn send(&self, world: &World, account: &Account) -> bool {
        let url = format!("{}/graphql", world.gateway.borrow().as_str());
        let request = world
            .http
            .post(url)
            .header("authorization", format!("Bearer {}", account.token))
            .header("content-type", "application/json")
            .body(self.body.clone());
        let Ok(response) = request.send().await else { return false };
        let Ok(bytes) = response.bytes().await else { return false };
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        // Nobody cuts anything but the gateway itself, so there is nothing that could go wrong in an answer.
        assert_eq!(answer.get("errors"), None, "{answer}");
        assert_eq!(answer["data"]["payload"]["userErrors"], json!([]), "{answer}");
        true
    }

    /// Sends it until it is known to be done.
    async fn insist(&self, world: &World, account: &Account) {
        let deadline = Instant::now() + KNOWN_WITHIN;
        while !self.send(world, account).await {
            assert!(Instant::now() < deadline, "{} was never answered", self.key);
            world.unknown.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One who writes without a pause, until the storm is over; all that it asked for is known to be done then.
async fn write(world: Arc<World>, client: usize, account: Account) -> Vec<Request> {
    let mut requests = Vec::new();
    while !world.is_over.load(Ordering::Relaxed) {
        let request = Request::new(client, requests.len(), &world.boards);
        request.insist(&world, &account).await;
        requests.push(request);
        world.confirmed.send_modify(|confirmed| *confirmed += 1);
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_confirmed_is_there_and_the_rest_is_done_once() {
    let url = new_database().await;
    let app = TestApp::on(url.clone(), &[]).await;
    let mut accounts = Vec::new();
    for client in 0..CLIENTS {
        accounts.push(app.account(&format!("client-{client}@example.org")).await);
    }
    let mut boards = Vec::new();
    for name in ["First", "Second"] {
        let board = BoardBuilder::new(accounts[0].id, name).nodes(1).make(&app).await;
        for account in &accounts[1..] {
            collaborator(&app, &board, account.id, "edit", true).await;
        }
        boards.push(board);
    }
    let folder = TestFolder::new("crash");
    let secret = app.config.auth.jwt_secret.as_ref().unwrap().expose_secret();
    let variables = [
        ("DATABASE_URL", url.expose_secret()),
        ("DATABASE_POOL_SIZE", "8"),
        ("RAGBOARD_JWT_SECRET", secret),
        ("RAGBOARD_GRAPHIQL", "false"),
        ("DATABASE_POOL_TIMEOUT", "300"),
        ("RAGBOARD_REQUEST_TIMEOUT", "300"),
    ];
    let start = async || Server::start_with(&folder.path().join("gateway"), &[], &variables).await;
    let mut server = start().await;
    let (address, gateway) = watch::channel(server.url(""));
    let world = Arc::new(World {
        http: program::client(),
        gateway,
        boards,
        confirmed: watch::Sender::new(0),
        unknown: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut confirmed = world.confirmed.subscribe();
    let writing = accounts.iter().cloned().enumerate();
    let writing: Vec<_> =
        writing.map(|(client, account)| tokio::spawn(write(Arc::clone(&world), client, account))).collect();
    for _ in 0..KILLS {
        let before = *confirmed.borrow();
        confirmed.wait_for(|confirmed| *confirmed >= before + STORM).await.unwrap();
        server.signal(Signal::KILL);
        assert_eq!(server.ended().await, None, "it was killed");
        server = start().await;
        address.send_replace(server.url(""));
    }
    let before = *confirmed.borrow();
    confirmed.wait_for(|confirmed| *confirmed >= before + STORM).await.unwrap();
    world.is_over.store(true, Ordering::Relaxed);
    let mut requests = Vec::new();
    for client in writing {
        requests.push(client.await.unwrap());
    }
    assert!(world.unknown.load(Ordering::Relaxed) >= KILLS, "nothing was under way when the gateway was killed");
    check(&app, &world, &requests).await;
    // Nothing more comes of asking for everything once more.
    let versions = values(&app.sql, VERSIONS).await;
    for (account, requests) in accounts.iter().zip(&requests) {
        for request in requests {
            assert!(request.send(&world, account).await);
        }
    }
    assert_eq!(values(&app.sql, VERSIONS).await, versions);
    check(&app, &world, &requests).await;
}

const VERSIONS: &str = "SELECT format('%s %s', b.id, b.version) FROM boards b ORDER BY b.id";
/// What requests have made, by their keys: kind and number of nodes, and of versions in which those were made.
const MADE_BY: &str = "SELECT format('%s %s %s %s', coalesce(r.title, f.name), n.type, count(*), count(DISTINCT n.version)) \
    FROM nodes n LEFT JOIN resource_nodes r ON r.node_id = n.id LEFT JOIN folder_nodes f ON f.node_id = n.id \
    WHERE coalesce(r.title, f.name) LIKE '%-%' GROUP BY coalesce(r.title, f.name), n.type";

async fn check(app: &TestApp, world: &World, requests: &[Vec<Request>]) {
    for (number, board) in world.boards.iter().enumerate() {
        let id = board.id.0;
        // The log names every request once, and its versions follow each other up to that of the board.
        let logged = format!("SELECT client_mutation_id FROM board_events WHERE board_id = '{id}'");
        let mut logged = values(&app.sql, &logged).await;
        let of_board = requests.iter().flatten().filter(|request| request.board == number);
        let mut asked: Vec<String> = of_board.map(|request| request.key.clone()).collect();
        logged.sort();
        asked.sort();
        assert_eq!(logged, asked);
        let versions = format!("SELECT version FROM board_events WHERE board_id = '{id}' ORDER BY version");
        let last = format!("SELECT generate_series(2, version) FROM boards WHERE id = '{id}'");
        assert_eq!(values(&app.sql, &versions).await, values(&app.sql, &last).await);
        // What is shown is that of the last request that touched it.
        let last = format!(
            "SELECT client_mutation_id FROM board_events WHERE board_id = '{id}' \
             AND changes @> '[{{\"type\": \"board_updated\"}}]' ORDER BY version DESC LIMIT 1"
        );
        let shown = format!(
            "SELECT b.description || ' ' || n.x || '-' || n.y FROM boards b JOIN nodes n ON n.id = '{}' WHERE b.id = '{id}'",
            board.nodes[0].0
        );
        let last = values(&app.sql, &last).await.pop().unwrap();
        assert_eq!(values(&app.sql, &shown).await, [format!("{last} {last}")]);
    }
    let mut made = values(&app.sql, MADE_BY).await;
    let of_request = |request: &Request| match request.body.contains("createFolderNode") {
        true => format!("{} folder 1 1", request.key),
        false => format!("{} resource {MADE} 1", request.key),
    };
    let mut expected: Vec<String> = requests.iter().flatten().map(of_request).collect();
    made.sort();
    expected.sort();
    assert_eq!(made, expected);
}
