//! What happens on one connection: which requests run on it, whose bodies have not arrived, and since when it is quiet.
//!
//! The bodies of requests and answers are wrapped here, because only they know when a request has arrived and when its answer
//! is handed over. What a request means is not known here; what is done about a connection is decided in `listener.rs`.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::{
    Version,
    body::{Frame, Incoming, SizeHint},
};
use tokio::{sync::Notify, time::Instant};

/// An answer is handed over in pieces of so many bytes: as the client takes them, not all at once.
const PIECE_BYTES: usize = 64 << 10;

/// What is read of a body that nobody wants, twice at most, and how long that may take.
const SKIPPED_BYTES: usize = 32 << 20;
const SKIPPED_WITHIN: Duration = Duration::from_secs(5);
/// How long a client may take to read the next piece of an answer.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// How long a connection may be quiet.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// From its first byte to the end of the head of a request.
    pub(super) header: Duration,
    /// Without a request, after the first one.
    pub(super) idle: Duration,
    /// From the head of a request to the end of its body.
    pub(super) body: Duration,
}

/// What happens on one connection.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Requests whose answers are not handed over.
    open: usize,
    /// Since when the bodies of those among them are awaited that have not arrived.
    arriving: HashMap<u64, Instant>,
    bodies: u64,
    /// Until when the head of the first request has to be there, or the end of the quiet after the last one.
    quiet_until: Instant,
    /// Since when a head is arriving. Not known of HTTP/2, whose clients say other things in between.
    head_since: Option<Instant>,
    is_http2: bool,
    /// When the client last took a piece of each answer that is being handed over.
    taken: HashMap<u64, Instant>,
    answers: u64,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; it is to be looked at again then.
    Keep(Instant),
    /// It is to be closed: no request is there.
    Close,
    /// It is to be cut off: an answer is not read, or a body does not arrive.
    Cut,
}

impl Activity {
    /// Of a connection that was opened now.
    pub(super) fn new(times: Times) -> Arc<Self> {
        let state = State {
            open: 0,
            arriving: HashMap::new(),
            bodies: 0,
            quiet_until: Instant::now() + times.header,
            head_since: None,
            is_http2: false,
            taken: HashMap::new(),
            answers: 0,
        };
        Arc::new(Activity { state: Mutex::new(state), changed: Notify::new() })
    }

    /// What is to be done about the connection now.
    pub(super) fn verdict(&self, times: Times) -> Verdict {
        let (now, state) = (Instant::now(), self.state());
        // Looked at so often that half a head lives no longer than twice its time.
        let next = now + times.header;
        if state.open == 0 {
            let head_until = state.head_since.map(|since| since + times.header);
            let until = head_until.map_or(state.quiet_until, |head_until| head_until.min(state.quiet_until));
            return if until <= now { Verdict::Close } else { Verdict::Keep(until.min(next)) };
        }
        let is_unread = state.taken.values().any(|taken| now.duration_since(*taken) >= READ_WITHIN);
        // A handler that waits for its body says so before that: this is for those that would wait without end.
        let arrive_within = times.body + SKIPPED_WITHIN;
        let is_late = state.arriving.values().any(|since| now.duration_since(*since) >= arrive_within);
        if is_unread || is_late { Verdict::Cut } else { Verdict::Keep(next) }
    }

    /// Notes that something was read.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        if state.open == 0 && !state.is_http2 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no request runs: nothing is there, or only parts of requests.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.open <= state.arriving.len()
    }

    /// Waits until no request runs.
    pub(super) async fn settled(&self) {
        while !self.is_settled() {
            self.changed.notified().await;
        }
    }

    /// Begins a request: its body as the handlers see it, what they leave of it, and what its answer is to be wrapped in.
    pub(super) fn begin(self: &Arc<Self>, version: Version, body: Incoming, idle: Duration) -> (Body, Rest, Open) {
        let mut state = self.state();
        state.open += 1;
        state.head_since = None;
        state.is_http2 = version >= Version::HTTP_2;
        drop(state);
        let open = Open { activity: Arc::clone(self), idle };
        let rest = Rest::default();
        if body.is_end_stream() {
            return (Body::empty(), rest, open);
        }
        let arriving = Some(self.await_body());
        (Body::new(Arriving { body: Some(body), is_wanted: false, rest: rest.clone(), arriving }), rest, open)
    }

    /// Notes that a body is awaited from now on, until the mark is dropped.
    fn await_body(self: &Arc<Self>) -> ArrivingMark {
        let mut state = self.state();
        state.bodies += 1;
        let number = state.bodies;
        state.arriving.insert(number, Instant::now());
        drop(state);
        ArrivingMark { activity: Arc::clone(self), number }
    }
}

/// What a handler left of the body of a request.
#[derive(Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<(Incoming, bool)>>>);

impl Rest {
    /// Reads what is left, so that a client that sends first and listens afterwards hears its answer. Much or slow is not read to its
    /// end before the answer, and not much further beside it. `waits` says whether the client sends nothing before it is asked to.
    /// Whether all of it was read.
    pub(super) async fn read(self, waits: bool) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut body, is_wanted)) = left else { return true };
        if waits && !is_wanted {
            return false;
        }
        if skip(&mut body).await {
            return true;
        }
        tokio::spawn(async move { skip(&mut body).await });
        false
    }
}

/// Reads a body without keeping it, within bounds. Whether it was read to its end.
async fn skip(body: &mut Incoming) -> bool {
    let mut left = SKIPPED_BYTES;
    let read = async {
        while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(SKIPPED_WITHIN, read).await.unwrap_or(false)
}

/// A request that is not answered in whole.
pub(super) struct Open {
    activity: Arc<Activity>,
    idle: Duration,
}

impl Open {
    /// The body of the answer; the request is open until all of it is handed over, or nobody wants it any more.
    pub(super) fn answer(self, body: Body) -> Body {
        let mut state = self.activity.state();
        state.answers += 1;
        let number = state.answers;
        state.taken.insert(number, Instant::now());
        drop(state);
        Body::new(Answering { body, rest: Bytes::new(), number, open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.open -= 1;
        state.quiet_until = Instant::now() + self.idle;
        drop(state);
        self.activity.changed.notify_one();
    }
}

struct ArrivingMark {
    activity: Arc<Activity>,
    /// Which body of the connection.
    number: u64,
}

impl Drop for ArrivingMark {
    fn drop(&mut self) {
        self.activity.state().arriving.remove(&self.number);
        self.activity.changed.notify_one();
    }
}

/// The body of a request. It has arrived when it is read to its end, or when the handler does not want it.
struct Arriving {
    /// There until this is dropped.
    body: Option<Incoming>,
    /// Whether the handler has asked for it.
    is_wanted: bool,
    rest: Rest,
    arriving: Option<ArrivingMark>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_wanted = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || body.is_end_stream() {
            self.arriving = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((body, self.is_wanted));
        }
    }
}

/// The body of an answer, in pieces.
struct Answering {
    body: Body,
    /// What is left of a part that was longer than a piece.
    rest: Bytes,
    /// Which of the connection.
    number: u64,
    open: Open,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.open.activity.state().taken.remove(&self.number);
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.open.activity.state().taken.insert(self.number, Instant::now());
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_does_not_arrive_ends_the_connection() {
        let times =
            Times { header: Duration::from_secs(10), idle: Duration::from_secs(75), body: Duration::from_secs(1) };
        let activity = Activity::new(times);
        activity.state().open += 1;
        let (early, late) = (activity.await_body(), activity.await_body());
        assert!(matches!(activity.verdict(times), Verdict::Keep(_)));
        if let Some(since) = activity.state().arriving.get_mut(&late.number) {
            *since -= times.body + SKIPPED_WITHIN;
        }
        assert_eq!(activity.verdict(times), Verdict::Cut);
        drop(late);
        assert!(matches!(activity.verdict(times), Verdict::Keep(_)));
        drop(early);
        assert!(!activity.is_settled(), "it is being answered");
    }
}
