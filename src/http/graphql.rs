//! GraphQL over HTTP: POST and GET, single and in batches, each within bounds.
//!
//! Follows the GraphQL-over-HTTP draft: `application/graphql-response+json` where the client accepts it, with 4xx for a
//! document that cannot run; `application/json` with 200 otherwise. Answers depend on credentials and are `no-store`.

use std::{net::SocketAddr, sync::Arc};

use async_graphql::{BatchRequest, Request};
use async_graphql_axum::{GraphQLRequest, rejection::GraphQLRejection};
use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response as HttpResponse},
};
use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Gateway, device, follow, identity, origin, turn};
use crate::{
    access::{Caller, Viewer},
    domain::{ClientAddress, Code, Error, Result},
    graphql::{Answer, Budget, Session, note_numbers, refusal},
    loaders::Loaders,
};

const EVENT_STREAM: &str = "text/event-stream";
const GRAPHQL_JSON: &str = "application/graphql-response+json";
/// Operations in one request body.
const MAX_BATCH: usize = 10;

pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    request: std::result::Result<GraphQLRequest, GraphQLRejection>,
) -> HttpResponse {
    let request = match request.map(GraphQLRequest::<GraphQLRejection>::into_inner) {
        Ok(request) if request.query.is_empty() => Err(invalid_document("Give the document in the parameter `query`")),
        Ok(request) if request.query.len() > gateway.limits.max_body_bytes => Err(too_large(&gateway)),
        Ok(request) => Ok(BatchRequest::Single(request)),
        Err(GraphQLRejection(error)) => {
            Err(invalid_document(&format!("The parameters are not a GraphQL request: {error}")))
        }
    };
    answer(&gateway, &headers, peer, request, true).await
}

pub(super) async fn post(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> HttpResponse {
    let request = match timeout(gateway.limits.request_timeout, read_body(&gateway, &headers, body)).await {
        Ok(request) => request,
        Err(_) => Err(Error::new(Code::Timeout, "The request did not arrive in time")),
    };
    answer(&gateway, &headers, peer, request, false).await
}

async fn read_body(gateway: &Gateway, headers: &HeaderMap, body: Body) -> Result<BatchRequest> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(invalid_document("Send Content-Type: application/json"));
    }
    let body = to_bytes(body, gateway.limits.max_body_bytes).await.map_err(|error| {
        let limited = std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("length limit"));
        if limited { too_large(gateway) } else { invalid_document(&format!("The body cannot be read: {error}")) }
    })?;
    // serde_json refuses to nest deeper than 128.
    let unreadable =
        |error: serde_json::Error| invalid_document(&format!("The body is not a GraphQL request in JSON: {error}"));
    if body.trim_ascii_start().first() != Some(&b'[') {
        let mut request: Request = serde_json::from_slice(&body).map_err(unreadable)?;
        note_numbers(std::slice::from_mut(&mut request), &body);
        return Ok(BatchRequest::Single(request));
    }
    let mut requests: Vec<Request> = serde_json::from_slice(&body).map_err(unreadable)?;
    if requests.is_empty() || requests.len() > MAX_BATCH {
        return Err(invalid_document(&format!("A batch holds 1 to {MAX_BATCH} requests")));
    }
    note_numbers(&mut requests, &body);
    Ok(BatchRequest::Batch(requests))
}

fn invalid_document(message: &str) -> Error {
    Error::new(Code::InvalidDocument, message.to_owned())
}

fn too_large(gateway: &Gateway) -> Error {
    Error::new(Code::CostExceeded, format!("The request is larger than {} bytes", gateway.limits.max_body_bytes))
}

async fn answer(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    peer: SocketAddr,
    request: Result<BatchRequest>,
    only_reads: bool,
) -> HttpResponse {
    let address = identity::client_address(gateway, headers, peer);
    let ready = async {
        let request = request?;
        Ok((request, identity::viewer(gateway, headers, address).await?))
    };
    let response = match ready.await {
        Err(error) => return refused(headers, &error),
        Ok((BatchRequest::Single(request), viewer)) if accepts(headers, EVENT_STREAM) => {
            if origin::is_foreign(&gateway.http, headers) {
                return (StatusCode::FORBIDDEN, "This origin may not follow here").into_response();
            }
            return match gateway.followers.join(address) {
                Ok(place) => {
                    let results = turn::operation(Arc::clone(gateway), viewer, address, only_reads, request);
                    follow::events(results, place)
                }
                Err(error) => refused(headers, &error),
            };
        }
        Ok((request, viewer)) => {
            let past_cache = headers
                .get(header::CACHE_CONTROL)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.to_ascii_lowercase().contains("no-cache"));
            let user_agent = device::user_agent(headers);
            let asker = Asker { viewer, address, only_reads, past_cache, user_agent };
            match request {
                BatchRequest::Single(request) => run(gateway, &asker, request).await,
                BatchRequest::Batch(requests) => {
                    let mut answers = Vec::with_capacity(requests.len());
                    for request in requests {
                        answers.push(run(gateway, &asker, request).await.body);
                    }
                    Answer { body: as_list(&answers), ran: true }
                }
            }
        }
    };
    // A document that could not run at all is the client's fault, and says so in the status where the client expects it.
    let refuses = !response.ran && accepts_graphql_json(headers);
    write(headers, if refuses { StatusCode::BAD_REQUEST } else { StatusCode::OK }, response)
}

/// Who asks, and how.
struct Asker {
    viewer: Viewer,
    address: ClientAddress,
    only_reads: bool,
    past_cache: bool,
    user_agent: Option<Arc<str>>,
}

async fn run(gateway: &Gateway, asker: &Asker, request: Request) -> Answer {
    let deadline = Instant::now() + gateway.limits.request_timeout;
    let caller = Caller::of(&asker.viewer, asker.address);
    let turn = match turn::turn(gateway, caller).await {
        Ok(turn) => turn,
        Err(error) => return refusal(&error),
    };
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
    match timeout_at(deadline, caller.scope(gateway.api.answer(session, request))).await {
        Ok(answer) => answer,
        Err(_) => refusal(&Error::new(Code::Timeout, "Answering took longer than it may; ask for less")),
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
