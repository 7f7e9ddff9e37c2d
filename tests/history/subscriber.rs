//! One of many who follow boards: over WebSocket all boards at once, or over server-sent events one. It is cut off at random,
//! comes back to any gateway, and goes on after what it has heard last.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use ragboard::domain::{EVENT_ORDER, event_place};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{
    choice::BOARDS,
    client::{Sight, World, check_errors},
    document::FOLLOW,
};

/// What everybody must have heard within this time after the last write.
const HEARD_WITHIN: Duration = Duration::from_secs(120);

/// An event as it was heard.
pub(crate) struct Heard {
    pub(crate) version: i64,
    pub(crate) client_mutation_id: Value,
    /// As the API tells them.
    pub(crate) changes: Vec<Value>,
}

pub(crate) struct Subscriber {
    pub(crate) number: usize,
    token: String,
    rng: StdRng,
    pub(crate) boards: BTreeMap<usize, Following>,
    pub(crate) sights: Vec<Sight>,
}

/// Where a subscriber is in the log of a board.
pub(crate) struct Following {
    pub(crate) heard: Vec<Heard>,
    cursor: String,
}

type Socket = WebSocketStream<TcpStream>;

impl Subscriber {
    pub(crate) fn new(seed: u64, number: usize, token: String, world: &World, boards: &[usize]) -> Self {
        let start = |board: &usize| {
            let cursor = event_place(world.boards[*board], 1).encode(EVENT_ORDER);
            (*board, Following { heard: Vec::new(), cursor })
        };
        Subscriber {
            number,
            token,
            rng: StdRng::seed_from_u64(seed ^ 0xf0110 ^ (number as u64) << 40),
            boards: boards.iter().map(start).collect(),
            sights: Vec::new(),
        }
    }

    /// Follows until it has heard everything up to the last versions, which are told when there are no more writes.
    pub(crate) async fn follow(mut self, world: Arc<World>, last: watch::Receiver<Option<[i64; BOARDS]>>) -> Self {
        let (mut deadline, mut longer) = (None, 150);
        loop {
            let is_over = last.borrow().is_some();
            // Longer each time, for on a slow machine it takes a while to come back.
            longer = if is_over { (2 * longer).min(10_000) } else { longer };
            let stay = if is_over { longer } else { self.rng.random_range(50..2500) };
            let gateway = self.rng.random_range(0..2);
            // Whether it is cut off by itself or by others, it is without a word.
            if tokio::time::timeout(Duration::from_millis(stay), self.listen(&world, gateway)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            world.resumed.fetch_add(1, Ordering::Relaxed);
            let Some(last) = *last.borrow() else { continue };
            let missing = self.missing(&last);
            if missing.is_empty() {
                return self;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + HEARD_WITHIN);
            assert!(Instant::now() < deadline, "subscriber {} never heard {missing:?}", self.number);
        }
    }

    /// Boards of which not all was heard: what was heard last, and what should have been.
    fn missing(&self, last: &[i64; BOARDS]) -> Vec<(usize, i64, i64)> {
        let heard = |following: &Following| following.heard.last().map_or(1, |heard| heard.version);
        self.boards
            .iter()
            .filter(|(board, following)| heard(following) < last[**board])
            .map(|(board, following)| (*board, heard(following), last[*board]))
            .collect()
    }

    /// Follows all its boards on one connection, until that ends.
    async fn listen(&mut self, world: &World, gateway: usize) {
        if self.boards.len() == 1 {
            self.listen_to_stream(world, gateway).await
        } else {
            self.listen_to_socket(world, gateway).await
        }
    }

    async fn listen_to_stream(&mut self, world: &World, gateway: usize) {
        let Some((board, following)) = self.boards.first_key_value() else { return };
        let board = *board;
        let variables = json!({ "id": world.boards[board].to_string(), "after": following.cursor });
        let request = world
            .http
            .post(format!("http://{}/graphql", world.gateways[gateway]))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(json!({ "query": FOLLOW, "variables": variables }).to_string());
        let Ok(mut response) = request.send().await else { return };
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let Some(data) = event.strip_prefix("event: next\ndata: ") else { continue };
                if !self.hear(board, serde_json::from_str(data).unwrap()) {
                    return;
                }
            }
        }
    }

    async fn listen_to_socket(&mut self, world: &World, gateway: usize) {
        let Some(mut socket) = open(&world.gateways[gateway], &self.token).await else { return };
        for (board, following) in &self.boards {
            let variables = json!({ "id": world.boards[*board].to_string(), "after": following.cursor });
            let payload = json!({ "query": FOLLOW, "variables": variables });
            let message = json!({ "id": board.to_string(), "type": "subscribe", "payload": payload });
            if socket.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
        }
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            match message["type"].as_str().unwrap() {
                "next" => {
                    let board = message["id"].as_str().unwrap().parse().unwrap();
                    if !self.hear(board, message["payload"].take()) {
                        return;
                    }
                }
                "ping" => drop(socket.send(Message::text(json!({ "type": "pong" }).to_string())).await),
                "connection_ack" | "pong" => {}
                // What the database could not tell ends the subscription.
                "complete" | "error" => return,
                other => panic!("an unknown message: {other}"),
            }
        }
    }

    /// Notes an event; whether there was one.
    fn hear(&mut self, board: usize, mut payload: Value) -> bool {
        let event = payload["data"]["boardEvents"].take();
        if payload.get("errors").is_some() || !event.is_object() {
            check_errors(FOLLOW, &json!(board), &payload);
            return false;
        }
        let following = self.boards.get_mut(&board).unwrap();
        let last = following.heard.last().map_or(1, |heard| heard.version);
        assert_eq!(event["__typename"], "BoardChanged", "subscriber {} of board {board} after {last}", self.number);
        let version = event["version"].as_i64().unwrap();
        assert_eq!(version, last + 1, "subscriber {} of board {board}: {event}", self.number);
        following.cursor = event["cursor"].as_str().unwrap().to_owned();
        let changes = event["changes"].as_array().unwrap().clone();
        for saved in changes.iter().filter(|change| change["__typename"] == "NodeSaved") {
            self.sights.push(Sight {
                board,
                at_least: version,
                id: saved["nodeId"].as_str().unwrap().parse().unwrap(),
                node: saved["node"].clone(),
                by: format!("subscriber {} in the event {version}", self.number),
            });
        }
        following.heard.push(Heard { version, client_mutation_id: event["clientMutationId"].clone(), changes });
        true
    }
}

async fn open(address: &str, token: &str) -> Option<Socket> {
    let mut request = format!("ws://{address}/graphql/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
    let payload = json!({ "Authorization": format!("Bearer {token}") });
    socket.send(Message::text(json!({ "type": "connection_init", "payload": payload }).to_string())).await.ok()?;
    Some(socket)
}
