//! Operations run for a caller and in its turn, so that none stops the others (`access/turns.rs`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_graphql::{Request, Response};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{Gateway, follow};
use crate::{
    access::{Caller, Turn, Viewer},
    domain::{ClientAddress, Code, Error, Result},
    graphql::refused,
};

/// Waits until an operation of this caller may run, no longer than answering it may take.
pub(super) async fn turn(gateway: &Gateway, caller: Caller) -> Result<Turn> {
    let late = |_| Error::new(Code::Overloaded, "Others of your requests took too long; ask for less at the same time");
    timeout(gateway.limits.request_timeout, gateway.turns.take(caller)).await.map_err(late)?
}

/// Runs one operation as a stream. One that follows what happens needs the turn only until it has begun.
pub(super) fn operation(
    gateway: Arc<Gateway>,
    viewer: Viewer,
    address: ClientAddress,
    only_reads: bool,
    request: Request,
) -> BoxStream<'static, Result<Response>> {
    let caller = Caller::of(&viewer, address);
    let results = async move {
        let turn = match turn(&gateway, caller).await {
            Ok(turn) => Arc::new(turn),
            Err(error) => return stream::iter([Ok(refused(&error))]).boxed(),
        };
        let session = follow::session(&gateway, viewer, address, only_reads, Arc::clone(&turn));
        gateway.api.stream(session, request).inspect(move |_| turn.give_back()).boxed()
    };
    OfCaller { caller, stream: stream::once(results).flatten().boxed() }.boxed()
}

/// A stream whose every step is done for a caller.
struct OfCaller<T> {
    caller: Caller,
    stream: BoxStream<'static, T>,
}

impl<T> Stream for OfCaller<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.caller.within(|| self.stream.poll_next_unpin(context))
    }
}
