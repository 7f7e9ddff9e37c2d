//! GraphQL over HTTP: POST and GET, single and in batches, each in its turn. How requests are taken in is `asked.rs`.
//!
//! Follows the GraphQL-over-HTTP draft: `application/graphql-response+json` where the client accepts it, with 4xx for a
//! document that cannot run; `application/json` with 200 otherwise. Answers depend on credentials and are `no-store`.

use std::{net::SocketAddr, sync::Arc};

use async_graphql::Request;
use axum::{
    Extension,
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response as HttpResponse},
};
use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Gateway,
    asked::{Asked, Batch, One},
    device, follow,
    held_bytes::HeldBytes,
    identity, origin, turn,
};
use crate::{
    access::{Caller, Turn, Viewer},
    domain::{ClientAddress, Code, Error, Result},
    graphql::{Answer, Api, Budget, Session, refusal},
    loaders::Loaders,
};

const EVENT_STREAM: &str = "text/event-stream";
const GRAPHQL_JSON: &str = "application/graphql-response+json";

/// What is asked for is in the address: a body is not looked at.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Extension(held_bytes): Extension<Arc<HeldBytes>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
) -> HttpResponse {
    let address = identity::client_address(&gateway, &headers, peer);
    let asked = Asked::in_address(&gateway.limits, held_bytes.hold(address), &uri).await;
    answer(&gateway, &headers, address, asked, true).await
}

/// An operation would be run, and nobody would be told its answer.
pub(super) async fn head() -> HttpResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")]).into_response()
}

pub(super) async fn post(
    State(gateway): State<Arc<Gateway>>,
    Extension(held_bytes): Extension<Arc<HeldBytes>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> HttpResponse {
    let address = identity::client_address(&gateway, &headers, peer);
    let asked = Asked::in_body(&gateway.limits, held_bytes.hold(address), &headers, body);
    let asked = match timeout(gateway.http.body_timeout, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(Error::new(Code::Timeout, "The request did not arrive in time")),
    };
    answer(&gateway, &headers, address, asked, false).await
}

async fn answer(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    address: ClientAddress,
    asked: Result<Asked>,
    only_reads: bool,
) -> HttpResponse {
    let ready = async {
        let asked = asked?;
        Ok((asked, identity::viewer(gateway, headers, address).await?))
    };
    let (asked, viewer) = match ready.await {
        Ok(ready) => ready,
        Err(error) => return refused(headers, &error),
    };
    let past_cache = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("no-cache"));
    let asker = Asker { viewer, address, only_reads, past_cache, user_agent: device::user_agent(headers) };
    let answered = match asked {
        Asked::One(one) if accepts(headers, EVENT_STREAM) => return followed(gateway, headers, asker, one),
        Asked::One(one) => run_one(gateway, &asker, one).await,
        Asked::Batch(batch) => run_batch(gateway, &asker, batch).await,
    };
    match answered {
        Ok(answer) => {
            // A document that could not run at all is the client's fault, and says so in the status where the client
            // expects it.
            let refuses = !answer.ran && accepts_graphql_json(headers);
            write(headers, if refuses { StatusCode::BAD_REQUEST } else { StatusCode::OK }, answer)
        }
        Err(error) => refused(headers, &error),
    }
}

/// Who asks, and how.
struct Asker {
    viewer: Viewer,
    address: ClientAddress,
    only_reads: bool,
    past_cache: bool,
    user_agent: Option<Arc<str>>,
}

impl Asker {
    fn caller(&self) -> Caller {
        Caller::of(&self.viewer, self.address)
    }
}

/// Answers an operation as a stream of events.
fn followed(gateway: &Arc<Gateway>, headers: &HeaderMap, asker: Asker, one: One) -> HttpResponse {
    if origin::is_foreign(&gateway.http, headers) {
        return (StatusCode::FORBIDDEN, "This origin may not follow here").into_response();
    }
    match gateway.followers.join(asker.address).and_then(|place| Ok((place, one.read()?))) {
        Ok((place, (request, held))) => {
            let Asker { viewer, address, only_reads, .. } = asker;
            let results = turn::operation(Arc::clone(gateway), viewer, address, only_reads, request, held);
            follow::events(results, place)
        }
        Err(error) => refused(headers, &error),
    }
}

/// Runs an operation. An error says that it could not be read.
async fn run_one(gateway: &Gateway, asker: &Asker, one: One) -> Result<Answer> {
    match turn::turn(gateway, asker.caller()).await {
        Ok(turn) => {
            let (request, _held) = one.read()?;
            Ok(run(gateway, asker, turn, request).await)
        }
        Err(error) => Ok(refusal(&error)),
    }
}

/// Runs the operations of a batch, each in a turn of its own; the first one's is the turn to read them, too.
async fn run_batch(gateway: &Gateway, asker: &Asker, batch: Batch) -> Result<Answer> {
    let caller = asker.caller();
    let mut first = match turn::turn(gateway, caller).await {
        Ok(turn) => Some(turn),
        Err(error) => {
            let body = as_list(&vec![refusal(&error).body; batch.operations()]);
            return Ok(Answer { body, ran: true });
        }
    };
    let (requests, _held) = batch.read()?;
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let turn = match first.take() {
            Some(turn) => Ok(turn),
            None => turn::turn(gateway, caller).await,
        };
        let answer = match turn {
            Ok(turn) => run(gateway, asker, turn, request).await,
            Err(error) => refusal(&error),
        };
        answers.push(answer.body);
    }
    Ok(Answer { body: as_list(&answers), ran: true })
}

/// Runs an operation in its turn, which comes with the moment by which it has to be answered.
async fn run(gateway: &Gateway, asker: &Asker, (turn, deadline): (Turn, Instant), request: Request) -> Answer {
    let reads = if asker.past_cache { &gateway.reads_past_cache } else { &gateway.reads };
    let session = Arc::new(Session {
        viewer: asker.viewer.clone(),
        only_reads: asker.only_reads,
        address: asker.address,
        budget: Arc::new(Budget::new(&gateway.limits)),
        turn: Arc::new(turn),
        user_agent: asker.user_agent.clone(),
        loaders: Arc::new(Loaders::new(Arc::clone(reads))),
        services: Arc::clone(&gateway.services),
    });
    match timeout_at(deadline, asker.caller().scope(gateway.api.answer(session, request))).await {
        Ok(answer) => answer,
        Err(_) => refusal(&Api::late()),
    }
}

fn as_list(answers: &[Bytes]) -> Bytes {
    let mut list = Vec::with_capacity(answers.iter().map(|answer| answer.len() + 1).sum::<usize>() + 1);
    for answer in answers {
        list.push(if list.is_empty() { b'[' } else { b',' });
        list.extend_from_slice(answer);
    }
    list.push(b']');
    list.into()
}

/// The status of a request that was not run.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::CostExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Overloaded | Code::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
        Code::InvalidArgument | Code::InvalidDocument => StatusCode::BAD_REQUEST,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a request that was not run.
fn refused(headers: &HeaderMap, error: &Error) -> HttpResponse {
    let status = status(error.code());
    let mut response = write(headers, status, refusal(error));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn accepts_graphql_json(headers: &HeaderMap) -> bool {
    accepts(headers, GRAPHQL_JSON)
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(media_type))
}

fn write(headers: &HeaderMap, status: StatusCode, answer: Answer) -> HttpResponse {
    let content_type = if accepts_graphql_json(headers) {
        "application/graphql-response+json; charset=utf-8"
    } else {
        "application/json"
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept, Authorization, X-Share-Token, X-Share-Password, X-Unlock-Token"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, answer.body).into_response()
}
