//! Subscriptions: GraphQL over WebSocket (`graphql-transport-ws`) and over server-sent events.
//!
//! Credentials come in the payload of `connection_init`, under the names of the headers, because browsers cannot set headers on a
//! WebSocket. One socket carries many operations; each has loaders of its own. The events follow the protocol of `graphql-sse`
//! in its mode of one connection per operation.

use std::{convert::Infallible, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use async_graphql::{Data, Executor, Request, Response, http::ALL_WEBSOCKET_PROTOCOLS};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use async_trait::async_trait;
use axum::{
    extract::{ConnectInfo, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{
        IntoResponse, Response as HttpResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Gateway, identity};
use crate::{
    access::Viewer,
    domain::{Code, Error, Result},
    graphql::{Session, refused},
    loaders::Loaders,
};

/// A ping after so much silence; who does not answer it in the same time is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Operations that one socket may run at the same time.
const MAX_OPERATIONS: usize = 100;

/// A session for one operation.
pub(super) fn session(gateway: &Gateway, viewer: Viewer, address: IpAddr, only_reads: bool) -> Arc<Session> {
    Arc::new(Session {
        viewer,
        only_reads,
        address,
        loaders: Arc::new(Loaders::new(Arc::clone(&gateway.reads))),
        services: Arc::clone(&gateway.services),
    })
}

/// Runs the operations of one socket.
#[derive(Clone)]
struct Operations {
    gateway: Arc<Gateway>,
    address: IpAddr,
    running: Arc<Semaphore>,
}

impl Operations {
    fn session(&self, data: Option<&Data>) -> Result<Arc<Session>> {
        let viewer =
            data.and_then(|data| data.get(&std::any::TypeId::of::<Viewer>())?.downcast_ref::<Viewer>().cloned());
        let viewer = viewer.ok_or_else(|| Error::internal("a socket without a viewer"))?;
        Ok(session(&self.gateway, viewer, self.address, false))
    }
}

#[async_trait]
impl Executor for Operations {
    async fn execute(&self, _: Request) -> Response {
        // Sockets run everything as a stream.
        refused(&Error::internal("an operation of a socket without its data"))
    }

    fn execute_stream(&self, request: Request, data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let too_many = |_| Error::new(Code::RateLimited, format!("At most {MAX_OPERATIONS} operations on one socket"));
        let place = Arc::clone(&self.running).try_acquire_owned().map_err(too_many);
        match place.and_then(|place| Ok((place, self.session(data.as_deref())?))) {
            Ok((place, session)) => {
                let results = self.gateway.api.stream(session, request);
                // The place is held by the stream, and given back with it.
                results
                    .inspect(move |_| {
                        let _held = &place;
                    })
                    .boxed()
            }
            Err(error) => stream::iter([refused(&error)]).boxed(),
        }
    }
}

pub(super) async fn socket(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> HttpResponse {
    let address = identity::client_address(&gateway, &headers, peer);
    let upgrade = upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(gateway.limits.max_body_bytes)
        .max_frame_size(gateway.limits.max_body_bytes);
    upgrade.on_upgrade(move |socket| async move {
        let running = Arc::new(Semaphore::new(MAX_OPERATIONS));
        let operations = Operations { gateway: Arc::clone(&gateway), address, running };
        GraphQLWebSocket::new(socket, operations, protocol)
            .on_connection_init(move |payload| async move {
                let headers = credentials(&payload)?;
                let viewer = identity::viewer(&gateway, &headers, address).await?;
                let mut data = Data::default();
                data.insert(viewer);
                Ok(data)
            })
            .keepalive_timeout(KEEP_ALIVE)
            .serve()
            .await;
    })
}

/// The credentials of a `connection_init`, as the headers they stand for.
fn credentials(payload: &Value) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(fields) = payload.as_object() else { return Ok(headers) };
    for (name, value) in fields {
        let is_credential = ["authorization", identity::SHARE_TOKEN, identity::SHARE_PASSWORD, identity::UNLOCK_TOKEN]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
        if !is_credential {
            continue;
        }
        let invalid = || Error::unauthenticated(format!("{name} is no text that a header may hold"));
        let text = value.as_str().ok_or_else(invalid)?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        headers.append(name, HeaderValue::try_from(text).map_err(|_| invalid())?);
    }
    Ok(headers)
}

/// Answers one operation as server-sent events: `next` for each result, `complete` at the end.
pub(super) fn events(gateway: &Gateway, session: Arc<Session>, request: Request) -> HttpResponse {
    let results = gateway.api.stream(session, request).map(|response| {
        Event::default().event("next").json_data(&response).unwrap_or_else(|_| Event::default().event("next"))
    });
    let complete = stream::iter([Event::default().event("complete").data("")]);
    let events = results.chain(complete).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
