//! A client of WebSockets that speaks `graphql-transport-ws`.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

use super::{app::Account, fixture::Board, patience::PATIENCE};

/// What the tests want to know of an event.
pub(crate) const FOLLOW: &str = "subscription ($id: ID!, $after: String) { boardEvents(boardId: $id, after: $after) { __typename \
    ... on ResyncRequired { version } ... on BoardChanged { version cursor clientMutationId actor { id } \
    changes { __typename ... on NodeSaved { nodeId node { ... on FolderNode { name } } } } } } }";

/// The place in the log of a board that has not changed yet. A subscription from there hears what comes, whenever it begins.
pub(crate) fn start(board: &Board) -> Value {
    json!(ragboard::domain::event_place(board.id, 1).encode(ragboard::domain::EVENT_ORDER))
}

/// A client that speaks `graphql-transport-ws`.
pub(crate) struct Socket(pub(crate) tokio_tungstenite::WebSocketStream<TcpStream>);

impl Socket {
    /// A socket on which nothing was said; the status with which it was refused otherwise.
    pub(crate) async fn silent(stream: TcpStream, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let address = stream.peer_addr().unwrap();
        let mut request = format!("ws://{address}/graphql/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn open(address: SocketAddr, payload: Value) -> Socket {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut socket = Socket::silent(stream, &[]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        socket
    }

    pub(crate) async fn of(address: SocketAddr, who: &Account) -> Socket {
        let mut socket = Socket::open(address, json!({ "Authorization": format!("Bearer {}", who.token) })).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn follow(&mut self, id: &str, board: &Board, after: Value) {
        let payload = json!({ "query": FOLLOW, "variables": { "id": board.id.to_string(), "after": after } });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// The next message; a close counts as one.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match message.expect("a message comes") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "ping" {
                        return message;
                    }
                    self.send(json!({ "type": "pong" })).await;
                }
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "close": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return json!({ "close": null }),
            }
        }
    }

    /// The code that the socket is closed with, whatever is told before.
    pub(crate) async fn ended(&mut self) -> u64 {
        loop {
            let message = self.next().await;
            if let Some(code) = message.get("close") {
                return code.as_u64().unwrap_or_else(|| panic!("cut off without a word"));
            }
        }
    }

    pub(crate) async fn event(&mut self) -> Value {
        let mut message = self.next().await;
        assert_eq!((message.get("close"), message["payload"].get("errors")), (None, None), "{message}");
        message["payload"]["data"]["boardEvents"].take()
    }
}
