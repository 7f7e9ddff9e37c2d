//! Accepts connections, speaks HTTP/1.1 and HTTP/2 on them within bounds, and stops in order.
//!
//! How many there may be is `connections.rs`, how long they may be quiet `connection.rs`. A connection that is too much is closed at
//! once; so a descriptor is always left to accept the next one.
//!
//! Stopping: nobody is accepted any more, connections without a request are closed, requests that run are answered, and
//! requests that have arrived by half are given up. How long the answers may take is decided by who calls.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    Request, Version,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tower::ServiceExt;

use super::{
    connection::{Activity, Times, Verdict},
    connections::{Connections, Place, Placed},
    seldom::Seldom,
};
use crate::config::HttpConfig;

/// How long a connection without a request may take to end when it is closed: for what is still to be sent, and for the
/// other half of a request that is on its way.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of the head of an HTTP/1.1 request, and of what is kept of an answer until the client takes it.
const BUFFER_BYTES: usize = 128 << 10;
/// Bytes of the head of an HTTP/2 request.
const HEADER_LIST_BYTES: u32 = 64 << 10;
/// Requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Streams that a client opened and reset before they were looked at; with more the connection ends.
const MAX_RESET_STREAMS: usize = 20;
/// Bytes of request bodies that an HTTP/2 client may send ahead, for one request and for a connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of an answer that wait for an HTTP/2 client, for each of its requests.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Answers until the sender is dropped, and returns when the last connection has ended. Dropped earlier, it cuts all of them off.
///
/// # Errors
/// Never by itself: what cannot be accepted now is tried again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    connections: Arc<Connections>,
    mut stopping: watch::Receiver<()>,
) -> io::Result<()> {
    let times = Times { header: config.header_timeout, idle: config.idle_timeout, body: config.body_timeout };
    let mut conversations = JoinSet::new();
    let mut told = Seldom::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_the_client(&error) => continue,
                Err(error) => {
                    if told.is_due() {
                        tracing::error!("Connections cannot be accepted for now: {error}");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_) = conversations.join_next() => continue,
            () = until_stopped(&mut stopping) => break,
        };
        if let Some(place) = connections.enter(peer.ip()) {
            conversations.spawn(converse(stream, peer, place, router.clone(), times, stopping.clone()));
        }
    }
    drop(listener);
    while conversations.join_next().await.is_some() {}
    Ok(())
}

async fn until_stopped(stopping: &mut watch::Receiver<()>) {
    while stopping.changed().await.is_ok() {}
}

/// Whether an attempt failed because the other side went away.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection, from its first byte to its end. Sockets leave it when they are opened, and live on by themselves.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    times: Times,
    mut stopping: watch::Receiver<()>,
) {
    // Answers are written whole; to wait for more of them only delays the last part.
    let _ = stream.set_nodelay(true);
    let activity = Activity::new(times);
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| {
            let (parts, body) = request.into_parts();
            let (body, rest, open) = activity.begin(parts.version, body, times.idle);
            let waits = parts.headers.contains_key(header::EXPECT);
            let is_http1 = parts.version < Version::HTTP_2;
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().oneshot(request);
            async move {
                let mut answer = answer.await?;
                if !rest.read(waits).await && is_http1 {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer.map(|body| open.answer(body)))
            }
        })
    };
    let stream = TokioIo::new(Placed::new(stream, Arc::clone(&activity), place));
    let builder = builder();
    let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
    let mut look = tokio::time::Instant::now() + times.header;
    loop {
        tokio::select! {
            biased;
            // Whatever went wrong, the client knows: there is nobody else to tell.
            _ = connection.as_mut() => return,
            () = until_stopped(&mut stopping) => break,
            () = sleep_until(look) => match activity.verdict(times) {
                Verdict::Keep(until) => look = until,
                Verdict::Close => break,
                Verdict::Cut => return,
            },
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = given_up(&activity) => {}
    }
}

/// Waits until no request has run for a moment.
async fn given_up(activity: &Activity) {
    loop {
        activity.settled().await;
        sleep(FAREWELL).await;
        if activity.is_settled() {
            return;
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The time of a head is looked after here: the library would count the quiet between two requests in.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None::<Duration>).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}
