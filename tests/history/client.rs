//! One of many who write: sends what is drawn for it, asks again under the same key until it knows what became of it, looks at
//! what it wrote, and notes everything.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use ragboard::domain::{BoardId, NodeId, UserId};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    choice::{BOARDS, Choices, Form, Operation},
    document::{LOOK, mutation},
    model::{Refused, Step},
};
use crate::support::app::Account;

/// How long a request may stay unknown. The database is cut off for much less.
const KNOWN_WITHIN: Duration = Duration::from_secs(180);

/// What all clients and subscribers share.
pub(crate) struct World {
    pub(crate) boards: [BoardId; BOARDS],
    /// Addresses of the gateways, `127.0.0.1:…`.
    pub(crate) gateways: [String; 2],
    pub(crate) http: reqwest::Client,
    /// The highest version of each board that somebody was told as the result of a write: it was committed before.
    pub(crate) told: [AtomicI64; BOARDS],
    pub(crate) finished: AtomicUsize,
    pub(crate) retries: AtomicUsize,
    pub(crate) resumed: AtomicUsize,
}

impl World {
    /// The answer to a document; `None` if there was none, or none of the API's.
    pub(crate) async fn ask(
        &self,
        gateway: usize,
        token: &str,
        headers: &[(&str, &str)],
        document: &str,
        variables: &Value,
    ) -> Option<Vec<u8>> {
        let mut request = self
            .http
            .post(format!("http://{}/graphql", self.gateways[gateway]))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = json!({ "query": document, "variables": variables }).to_string();
        let answer = request.body(body).send().await.ok()?;
        Some(answer.bytes().await.ok()?.to_vec())
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done; afterwards the board was at this version, or at a later one if the answer was given again.
    Done(i64),
    /// It was refused.
    Refused(Refused),
}

/// A request whose outcome is known.
pub(crate) struct Record {
    pub(crate) operation: Operation,
    /// The version of the board that the client insisted on.
    pub(crate) expected: Option<i64>,
    /// Account of the client.
    pub(crate) actor: UserId,
    /// The board was at this version, or at a later one, before it was first sent.
    pub(crate) after: i64,
    /// What was known when the outcome was.
    pub(crate) told: i64,
    pub(crate) outcome: Outcome,
    pub(crate) attempts: usize,
}

/// A node as somebody saw it, who knew that the board was at a version, or at a later one.
pub(crate) struct Sight {
    pub(crate) board: usize,
    pub(crate) at_least: i64,
    pub(crate) id: NodeId,
    /// Null when there was none.
    pub(crate) node: Value,
    pub(crate) by: String,
}

pub(crate) struct Client {
    number: usize,
    account: Account,
    choices: Choices,
    /// Where requests are sent again; apart from the choices, because how often that happens depends on the machine.
    luck: StdRng,
    seen: HashMap<(usize, NodeId), i64>,
    seen_boards: [i64; BOARDS],
    pub(crate) records: Vec<Record>,
    pub(crate) sights: Vec<Sight>,
}

impl Client {
    pub(crate) fn new(seed: u64, number: usize, account: Account) -> Self {
        Client {
            number,
            account,
            choices: Choices::new(seed, number),
            luck: StdRng::seed_from_u64(seed ^ (number as u64) << 32),
            seen: HashMap::new(),
            seen_boards: [1; BOARDS],
            records: Vec::new(),
            sights: Vec::new(),
        }
    }

    /// Makes so many requests, or as many as there is time for.
    pub(crate) async fn work(&mut self, world: &World, most: usize, until: Option<Instant>) {
        for _ in 0..most {
            if until.is_some_and(|until| Instant::now() > until) {
                return;
            }
            let mut operation = self.choices.next();
            self.insist(&mut operation);
            self.write(world, operation).await;
            world.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts in the versions that the client knows.
    fn insist(&self, operation: &mut Operation) {
        let in_batch = operation.form == Form::Batch;
        if !operation.insists {
            return;
        }
        for step in &mut operation.steps {
            if let Step::Edit { node, expected, .. } | Step::Move { node, expected, .. } = step {
                *expected = self.seen.get(&(operation.board, *node)).copied();
            }
            if let (Step::Delete { node, expected }, true) = (step, in_batch) {
                *expected = self.seen.get(&(operation.board, *node)).copied();
            }
        }
    }

    async fn write(&mut self, world: &World, operation: Operation) {
        let board = operation.board;
        let expected = operation.insists_on_board.then_some(self.seen_boards[board]);
        let (document, input) = mutation(&operation, world.boards[board], expected);
        let variables = json!({ "input": input });
        let after = world.told[board].load(Ordering::SeqCst);
        let (mut gateway, mut attempts) = (operation.gateway, 0);
        let deadline = Instant::now() + KNOWN_WITHIN;
        let payload = loop {
            attempts += 1;
            let answer = world.ask(gateway, &self.account.token, &[], &document, &variables).await;
            let known = answer.as_ref().and_then(|answer| known(&document, &variables, answer));
            if let Some(payload) = known {
                break payload;
            }
            assert!(Instant::now() < deadline, "never known: {variables}, last {}", text(answer.as_deref()));
            world.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(self.luck.random_range(1..60))).await;
            // Boards with a gateway of their own keep it.
            gateway = if board < 2 { board } else { self.luck.random_range(0..2) };
        };
        let outcome = outcome(&variables, &payload);
        check_current(&operation, expected, &payload);
        let version = payload["board"]["version"].as_i64();
        if let Outcome::Done(version) = outcome {
            world.told[board].fetch_max(version, Ordering::SeqCst);
            self.seen_boards[board] = version;
            let nodes = payload["nodes"].as_array().into_iter().flatten();
            let mut nodes: Vec<Value> = nodes.chain(payload.get("node")).cloned().collect();
            nodes.extend([&payload["link"]["from"], &payload["link"]["to"]].map(Value::clone));
            for node in nodes {
                self.see(board, version, None, node, &format!("told of {}", operation.key));
            }
        }
        let told = world.told[board].load(Ordering::SeqCst);
        if let (true, Some(version)) = (operation.looks, version) {
            self.look(world, &operation, gateway, version).await;
        }
        self.records.push(Record { operation, expected, actor: self.account.id, after, told, outcome, attempts });
    }

    /// Looks at what it wrote and at something else, where it was told that it is done: there it must show at once.
    async fn look(&mut self, world: &World, operation: &Operation, gateway: usize, version: i64) {
        let board = operation.board;
        let of_step = |step: &Step| match step {
            Step::Create { node, .. }
            | Step::Edit { node, .. }
            | Step::Move { node, .. }
            | Step::Place { node, .. }
            | Step::Delete { node, .. }
            | Step::Restore { node }
            | Step::Link { from: node, .. } => Some(*node),
            Step::EditLink { .. } | Step::Unlink { .. } | Step::Describe { .. } => None,
        };
        let own = operation.steps.iter().find_map(of_step).unwrap_or(operation.others[0]);
        let others: Vec<String> = operation.others.iter().map(ToString::to_string).collect();
        let variables = json!({ "board": world.boards[board].to_string(), "node": own.to_string(), "others": others });
        let Some(answer) = world.ask(gateway, &self.account.token, &[], LOOK, &variables).await else { return };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if answer.get("errors").is_some() || !answer["data"].is_object() {
            check_errors(LOOK, &variables, &answer);
            return;
        }
        let data = &answer["data"];
        let seen = data["board"]["version"].as_i64().unwrap_or_default();
        let key = &operation.key;
        assert!(seen >= version, "{key} was told version {version} by gateway {gateway}, and then saw {seen} there");
        let others = operation.others.iter().zip(data["nodes"].as_array().unwrap());
        for (id, node) in [(&own, &data["node"])].into_iter().chain(others) {
            self.see(board, version, Some(*id), node.clone(), &format!("looking after {key} at gateway {gateway}"));
        }
    }

    fn see(&mut self, board: usize, at_least: i64, id: Option<NodeId>, node: Value, how: &str) {
        let Some(id) = id.or_else(|| node["id"].as_str().and_then(|id| id.parse().ok())) else { return };
        if let Some(version) = node["version"].as_i64() {
            self.seen.insert((board, id), version);
        }
        self.sights.push(Sight { board, at_least, id, node, by: format!("client {}, {how}", self.number) });
    }
}

fn text(answer: Option<&[u8]>) -> String {
    answer.map_or("no answer".into(), |answer| String::from_utf8_lossy(answer).into_owned())
}

/// Errors are those that a lost database may cause, and no others.
pub(crate) fn check_errors(document: &str, variables: &Value, answer: &Value) {
    for error in answer["errors"].as_array().into_iter().flatten() {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        assert!(["OVERLOADED", "TIMEOUT"].contains(&code), "{document}\n{variables}\n{answer}");
    }
}

/// The payload, if the answer says what became of the request.
fn known(document: &str, variables: &Value, answer: &[u8]) -> Option<Value> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    check_errors(document, variables, &answer);
    if answer.get("errors").is_some() {
        return None;
    }
    Some(answer["data"]["payload"].take()).filter(Value::is_object)
}

/// Who insists on a version and is refused is shown another one.
fn check_current(operation: &Operation, expected: Option<i64>, payload: &Value) {
    let error = &payload["userErrors"][0];
    let is_about_version =
        error["path"].as_array().and_then(|path| path.last()).is_some_and(|last| last == "expectedVersion");
    let Some(shown) = error["current"]["version"].as_i64().filter(|_| is_about_version) else { return };
    let insisted = operation.steps.iter().filter_map(|step| match step {
        Step::Edit { node, expected, .. } | Step::Move { node, expected, .. } | Step::Delete { node, expected }
            if error["current"]["id"] == node.to_string() =>
        {
            *expected
        }
        _ => None,
    });
    for version in insisted.chain(expected) {
        assert_ne!(version, shown, "the conflict of {operation:?} shows what its client knew: {error}");
    }
}

fn outcome(variables: &Value, payload: &Value) -> Outcome {
    let error = &payload["userErrors"][0];
    match error["__typename"].as_str() {
        None => Outcome::Done(payload["board"]["version"].as_i64().unwrap()),
        Some("ValidationError") => Outcome::Refused(Refused::Invalid),
        Some("NotFoundError") => Outcome::Refused(Refused::NotFound),
        Some("ConflictError") => Outcome::Refused(Refused::Conflict),
        Some("LimitError") => Outcome::Refused(Refused::Full),
        Some(_) => panic!("{variables} was refused: {error}"),
    }
}
