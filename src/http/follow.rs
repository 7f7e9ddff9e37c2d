//! What sockets and streams of events share, and the stream of events: `graphql-sse` in its mode of one connection per
//! operation. Sockets are `socket.rs`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_graphql::Response;
use axum::response::{
    IntoResponse, Response as HttpResponse,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    Gateway,
    followers::{Place, restarting},
};
use crate::{
    access::{Turn, Viewer},
    domain::{ClientAddress, Result},
    graphql::{Budget, Session, Wire, refused},
    loaders::Loaders,
};

/// A comment after so much silence, so that nobody in between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A session for one operation.
pub(super) fn session(
    gateway: &Gateway,
    viewer: Viewer,
    address: ClientAddress,
    only_reads: bool,
    turn: Arc<Turn>,
) -> Arc<Session> {
    Arc::new(Session {
        viewer,
        only_reads,
        address,
        budget: Arc::new(Budget::new(&gateway.limits)),
        turn,
        user_agent: None,
        loaders: Arc::new(Loaders::new(Arc::clone(&gateway.reads))),
        services: Arc::clone(&gateway.services),
    })
}

/// Answers one operation as server-sent events: `next` for each result, `complete` at the end. When the server stops, or cannot
/// tell an event, the last result is an error that says so, and nothing is complete: clients come back then by themselves.
pub(super) fn events(results: BoxStream<'static, Result<Response>>, place: Place) -> HttpResponse {
    let events = stream::unfold(Some((results, place)), |following| async {
        let (mut results, mut place) = following?;
        Some(tokio::select! {
            biased;
            () = place.stopping() => (next(&refused(&restarting())), None),
            result = results.next() => match result {
                Some(Ok(result)) => (next(&result), Some((results, place))),
                Some(Err(lost)) => (next(&refused(&lost)), None),
                None => (Event::default().event("complete").data(""), None),
            },
        })
    });
    Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn next(response: &Response) -> Event {
    let event = || Event::default().event("next");
    event().json_data(Wire(response)).unwrap_or_else(|_| event())
}
