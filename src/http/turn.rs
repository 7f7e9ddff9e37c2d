//! Operations run for a caller and in its turn, so that none stops the others (`access/turns.rs`).
//!
//! One that answers as a stream runs in a task of its own. So whoever does not read what it is told stops no operation
//! halfway, with all that it holds.

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
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{Gateway, follow, held_bytes::Held};
use crate::{
    access::{Caller, Turn, Viewer},
    domain::{ClientAddress, Code, Error, Result},
    graphql::refused,
};

/// Waits until an operation of this caller may run, and tells by when it has to be answered.
pub(super) async fn turn(gateway: &Gateway, caller: Caller) -> Result<(Turn, Instant)> {
    let late = |_| Error::new(Code::Overloaded, "Others of your requests took too long; ask for less at the same time");
    let deadline = Instant::now() + gateway.limits.request_timeout;
    let turn = timeout_at(deadline, gateway.turns.take(caller)).await.map_err(late)??;
    Ok((turn, deadline))
}

/// Runs one operation as a stream. One that follows what happens needs the turn only until it has begun. What it was
/// asked with is held until it ends.
pub(super) fn operation(
    gateway: Arc<Gateway>,
    viewer: Viewer,
    address: ClientAddress,
    only_reads: bool,
    request: Request,
    held: Held,
) -> BoxStream<'static, Result<Response>> {
    let caller = Caller::of(&viewer, address);
    let results = async move {
        let (turn, deadline) = match turn(&gateway, caller).await {
            Ok((turn, deadline)) => (Arc::new(turn), deadline),
            Err(error) => return stream::iter([Ok(refused(&error))]).boxed(),
        };
        let session = follow::session(&gateway, viewer, address, only_reads, Arc::clone(&turn));
        gateway.api.stream(session, request, deadline).inspect(move |_| turn.give_back()).boxed()
    };
    let stream = stream::once(results).flatten().boxed();
    InTask::of(OfCaller { caller, stream, _held: held }).boxed()
}

/// A stream whose every step is done for a caller.
struct OfCaller<T> {
    caller: Caller,
    stream: BoxStream<'static, T>,
    _held: Held,
}

impl<T> Stream for OfCaller<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.caller.within(|| self.stream.poll_next_unpin(context))
    }
}

/// A stream that runs in a task of its own, which ends with it. One item waits here until it is taken, and the next one
/// in the task.
struct InTask<T> {
    items: mpsc::Receiver<T>,
    task: AbortHandle,
}

impl<T: Send + 'static> InTask<T> {
    fn of(mut stream: impl Stream<Item = T> + Send + Unpin + 'static) -> Self {
        let (sender, items) = mpsc::channel(1);
        let run = async move {
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        };
        InTask { items, task: tokio::spawn(run).abort_handle() }
    }
}

impl<T> Stream for InTask<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.items.poll_recv(context)
    }
}

impl<T> Drop for InTask<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Ends when it is dropped.
    struct Counting(Arc<AtomicUsize>);

    impl Drop for Counting {
        fn drop(&mut self) {
            self.0.fetch_add(1_000, Ordering::SeqCst);
        }
    }

    /// Waits until something is as it should be.
    async fn until(is_so: impl Fn() -> bool) {
        let waited = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waited).await.expect("it never was");
    }

    #[tokio::test]
    async fn a_stream_goes_on_though_nobody_takes_what_it_says_but_not_far() {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Counting(Arc::clone(&count));
        let numbers = stream::unfold(counting, |counting| async {
            // A step that waits, as a statement does.
            tokio::task::yield_now().await;
            let number = counting.0.fetch_add(1, Ordering::SeqCst);
            Some((number, counting))
        });
        let mut task = InTask::of(numbers.boxed());
        until(|| count.load(Ordering::SeqCst) == 2).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 2, "one waits to be taken, one to be put there");
        assert_eq!((task.next().await, task.next().await, task.next().await), (Some(0), Some(1), Some(2)));
        drop(task);
        until(|| count.load(Ordering::SeqCst) >= 1_000).await;
    }

    #[tokio::test]
    async fn a_stream_ends_as_it_would_without_a_task() {
        let numbers: Vec<i32> = InTask::of(stream::iter([1, 2, 3])).collect().await;
        assert_eq!(numbers, [1, 2, 3]);
    }
}
