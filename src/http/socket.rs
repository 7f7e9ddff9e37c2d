//! One WebSocket in the protocol `graphql-transport-ws`, from its opening to the code that it is closed with.
//!
//! A socket is one task: it reads a message, or hands a result on, and waits until that is written. Each operation is
//! another (`turn.rs`), which goes on meanwhile until its next result. So a client that does not read stops nobody, and
//! almost nothing is queued for it. What a document means is not decided here, nor who may follow what.

use std::{borrow::Cow, collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use async_graphql::{Request, Response};
use axum::{
    Extension,
    extract::{
        ConnectInfo, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response as HttpResponse},
};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{self, AbortHandle, BoxStream, SelectAll, SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, interval_at, timeout},
};

use super::{Gateway, asked, followers::Place, graphql, held_bytes::HeldBytes, identity, origin, turn};
use crate::{
    access::Viewer,
    domain::{ClientAddress, Code, Error, Result},
    graphql::{Wire, note_numbers, refused},
};

const PROTOCOL: &str = "graphql-transport-ws";
/// Bytes that a socket reads at once.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// How long a client may take to say who it is.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// Time between two pings: less than proxies wait (60 s), and no more than ten thousand quiet sockets can have for little work.
/// Whoever is not heard of between two of them is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long one message may wait until the client reads it.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How long a closed socket may take to be closed by the other side, too.
const FAREWELL: Duration = Duration::from_secs(1);
/// Operations that one socket may run at the same time.
const MAX_OPERATIONS: usize = 100;
/// Longer names of operations are refused.
const MAX_ID_LEN: usize = 128;
/// Longer pings are answered without what they say.
const MAX_ECHOED_BYTES: usize = 1 << 10;
/// What fits into a close frame beside the code.
const MAX_REASON_LEN: usize = 123;

/// Why a socket is closed. `docs/clients.md` lists the codes.
struct Ending {
    code: u16,
    reason: Cow<'static, str>,
}

fn ending(code: u16, reason: impl Into<Cow<'static, str>>) -> Ending {
    Ending { code, reason: reason.into() }
}

impl From<Ending> for CloseFrame {
    fn from(Ending { code, reason }: Ending) -> Self {
        let end = reason.char_indices().map(|(start, c)| start + c.len_utf8()).take_while(|end| *end <= MAX_REASON_LEN);
        let end = end.last().unwrap_or_default();
        CloseFrame { code, reason: reason.get(..end).unwrap_or_default().into() }
    }
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    ConnectionInit { payload: Option<Value> },
    Subscribe { id: String, payload: Box<Request> },
    Complete { id: String },
    Ping { payload: Option<Value> },
    Pong {},
}

/// What it is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient<'a> {
    ConnectionAck,
    Next {
        id: &'a str,
        payload: Wire<'a>,
    },
    Complete {
        id: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
}

/// The results of an operation under its name, and `None` at its end. An error says that the client has to come back.
type Results = BoxStream<'static, (String, Option<Result<Response>>)>;

pub(super) async fn open(
    State(gateway): State<Arc<Gateway>>,
    Extension(held_bytes): Extension<Arc<HeldBytes>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> HttpResponse {
    if origin::is_foreign(&gateway.http, &headers) {
        return (StatusCode::FORBIDDEN, "This origin may not open sockets here").into_response();
    }
    let upgrade = upgrade
        .protocols([PROTOCOL])
        // A buffer that each of thousands of quiet sockets has; what is longer grows it for its time.
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(gateway.limits.max_body_bytes)
        .max_frame_size(gateway.limits.max_body_bytes);
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, "The protocol is graphql-transport-ws").into_response();
    }
    let address = identity::client_address(&gateway, &headers, peer);
    match gateway.followers.join(address) {
        Ok(place) => upgrade.on_upgrade(move |socket| run(gateway, held_bytes, socket, address, place)),
        Err(error) => (graphql::status(error.code()), error.message().to_owned()).into_response(),
    }
}

async fn run(
    gateway: Arc<Gateway>,
    held_bytes: Arc<HeldBytes>,
    socket: WebSocket,
    address: ClientAddress,
    mut place: Place,
) {
    let (mut sink, mut messages) = socket.split();
    let (identified, viewer) = oneshot::channel();
    let mut socket = Socket {
        gateway: &gateway,
        held_bytes: &held_bytes,
        address,
        sink: &mut sink,
        viewer: None,
        identified: Some(identified),
        operations: HashMap::new(),
        results: SelectAll::new(),
    };
    let ended = tokio::select! {
        ended = socket.serve(&mut messages) => ended,
        ended = credentials_end(&gateway, viewer) => Some(ended),
        () = place.stopping() => Some(ending(1012, "The server restarts: come back, with the cursor of the last event")),
    };
    drop(socket);
    // The other side answers a close with its own. Who does not read any more is cut off.
    let farewell = async {
        match ended {
            Some(ended) => {
                sink.send(Message::Close(Some(ended.into()))).await?;
                while let Some(Ok(_)) = messages.next().await {}
                Ok(())
            }
            None => sink.close().await,
        }
    };
    let _ = timeout(FAREWELL, farewell).await;
}

/// Waits until the credentials of a socket are not good any more, or were not said in time.
async fn credentials_end(gateway: &Gateway, identified: oneshot::Receiver<Viewer>) -> Ending {
    let viewer = match timeout(INIT_WITHIN, identified).await {
        Ok(Ok(viewer)) => viewer,
        // The socket ends by itself.
        Ok(Err(_)) => return std::future::pending().await,
        Err(_) => return ending(4408, "Connection initialisation timeout"),
    };
    let error = gateway.services.until_ended(&viewer).await;
    let has_expired = viewer.bearer().is_some_and(|bearer| bearer.expires_at <= chrono::Utc::now());
    // A client of this protocol comes back by itself after the first, with a fresh token if it has one, and not after the second.
    ending(if has_expired { 4403 } else { 4401 }, error.message().to_owned())
}

/// A socket that is open.
struct Socket<'a> {
    gateway: &'a Arc<Gateway>,
    held_bytes: &'a Arc<HeldBytes>,
    address: ClientAddress,
    sink: &'a mut SplitSink<WebSocket, Message>,
    /// Who it is, once that was said.
    viewer: Option<Viewer>,
    /// Is told who it is.
    identified: Option<oneshot::Sender<Viewer>>,
    operations: HashMap<String, AbortHandle>,
    results: SelectAll<Results>,
}

impl Socket<'_> {
    /// Serves until the socket is to be closed with a code, or the client has closed it.
    async fn serve(&mut self, messages: &mut SplitStream<WebSocket>) -> Option<Ending> {
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_heard = true;
        loop {
            let done = tokio::select! {
                message = messages.next() => {
                    is_heard = true;
                    match message {
                        Some(Ok(Message::Text(text))) => self.hear(text.as_bytes()).await,
                        Some(Ok(Message::Binary(bytes))) => self.hear(&bytes).await,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    }
                }
                Some((id, result)) = self.results.next(), if !self.results.is_empty() => match result {
                    Some(Ok(result)) => self.tell(&ToClient::Next { id: &id, payload: Wire(&result) }).await,
                    // An error of one operation would be its end for clients. A closed socket makes them follow again.
                    Some(Err(lost)) => Err(ending(1013, lost.message().to_owned())),
                    None => {
                        self.operations.remove(&id);
                        self.tell(&ToClient::Complete { id: &id }).await
                    }
                },
                _ = pings.tick() => match std::mem::take(&mut is_heard) {
                    // Answered by the library on the other side, even where the program does not know of it.
                    true => self.send(Message::Ping(Bytes::new())).await,
                    false => Err(ending(3008, "Nothing was heard of the client")),
                },
            };
            if let Err(ended) = done {
                return Some(ended);
            }
        }
    }

    async fn hear(&mut self, message: &[u8]) -> Result<(), Ending> {
        let invalid = |error: serde_json::Error| ending(4400, format!("Not a message of {PROTOCOL}: {error}"));
        match serde_json::from_slice(message).map_err(invalid)? {
            FromClient::ConnectionInit { payload } => self.identify(&payload.unwrap_or_default()).await,
            FromClient::Subscribe { id, payload } => self.begin(id, *payload, message).await,
            FromClient::Complete { id } => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort();
                }
                Ok(())
            }
            FromClient::Ping { payload } => {
                let payload = payload.filter(|_| message.len() <= MAX_ECHOED_BYTES);
                self.tell(&ToClient::Pong { payload }).await
            }
            FromClient::Pong {} => Ok(()),
        }
    }

    async fn identify(&mut self, payload: &Value) -> Result<(), Ending> {
        let Some(identified) = self.identified.take() else {
            return Err(ending(4429, "Too many initialisation requests"));
        };
        let viewer = match identity::Presented::in_payload(payload) {
            Ok(presented) => identity::viewer_of(self.gateway, presented, self.address).await,
            Err(error) => Err(error),
        };
        let refused = |error: Error| match error.code() {
            Code::Unauthenticated => ending(4403, error.message().to_owned()),
            Code::Internal => {
                tracing::error!(cause = ?error.cause(), "A socket could not be opened");
                ending(1011, "Internal error")
            }
            _ => ending(1013, error.message().to_owned()),
        };
        let viewer = viewer.map_err(refused)?;
        self.viewer = Some(viewer.clone());
        // Who would hear it lives as long as this.
        let _ = identified.send(viewer);
        self.tell(&ToClient::ConnectionAck).await
    }

    async fn begin(&mut self, id: String, mut request: Request, message: &[u8]) -> Result<(), Ending> {
        let Some(viewer) = self.viewer.clone() else { return Err(ending(4401, "Unauthorized")) };
        if id.len() > MAX_ID_LEN {
            return Err(ending(4400, format!("The id of an operation has at most {MAX_ID_LEN} bytes")));
        }
        if self.operations.contains_key(&id) {
            return Err(ending(4409, format!("Subscriber for {id} already exists")));
        }
        if self.operations.len() >= MAX_OPERATIONS {
            let many = format!("At most {MAX_OPERATIONS} operations on one socket");
            return self.refuse(&id, &Error::new(Code::RateLimited, many)).await;
        }
        let mut held = self.held_bytes.hold(self.address);
        if let Err(error) = held.resize(asked::weight(message)) {
            return self.refuse(&id, &error).await;
        }
        note_numbers(std::slice::from_mut(&mut request), message);
        // The API asks each time anew who this is: the credentials may have ended a moment ago.
        let results = turn::operation(Arc::clone(self.gateway), viewer, self.address, false, request, held);
        let (name, end) = (id.clone(), stream::iter([None]));
        let results = results.map(Some).chain(end).map(move |result| (name.clone(), result));
        let (results, operation) = stream::abortable(results);
        self.operations.insert(id, operation);
        self.results.push(results.boxed());
        Ok(())
    }

    /// Says why an operation is not run.
    async fn refuse(&mut self, id: &str, error: &Error) -> Result<(), Ending> {
        self.tell(&ToClient::Next { id, payload: Wire(&refused(error)) }).await?;
        self.tell(&ToClient::Complete { id }).await
    }

    async fn tell(&mut self, message: &ToClient<'_>) -> Result<(), Ending> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "A message of a socket could not be written");
            ending(1011, "Internal error")
        })?;
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        match timeout(READ_WITHIN, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ending(1011, "The connection is lost")),
            Err(_) => Err(ending(1013, "Nothing was read for too long")),
        }
    }
}
