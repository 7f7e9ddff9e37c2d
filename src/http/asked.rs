//! What is asked for by POST and GET, as it comes: taken in within bounds, and held as text until it is read in turn.
//!
//! To read a text takes time, and what is made of it takes many times its memory. So that is not done for whoever
//! waits, and a text is weighed by its outline. What it means is not known here.

use async_graphql::Request;
use async_graphql_axum::{GraphQLRequest, rejection::GraphQLRejection};
use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Query},
    http::{HeaderMap, Request as HttpRequest, Uri, header},
};
use futures_util::StreamExt;
use serde::Deserialize;

use super::held_bytes::Held;
use crate::{
    config::LimitsConfig,
    domain::{Code, Error, Result},
    graphql::note_numbers,
};

/// Operations in one request body.
const MAX_BATCH: usize = 10;
/// About what it takes to unpack a body.
const UNPACKING_BYTES: usize = 64 << 10;
/// A text is there once as it came, and once in what is made of it.
const COPIES: usize = 2;
/// About what a value takes beside its text: its place in a list, or its place and its name in an object.
const VALUE_BYTES: usize = 256;

/// What was asked for.
pub(super) enum Asked {
    One(One),
    Batch(Batch),
}

/// One operation.
pub(super) struct One {
    text: Text,
    held: Held,
}

enum Text {
    /// Of an address, which is short and was read.
    Read(Box<Request>),
    Body(Vec<u8>),
}

/// Several operations, one after the other.
pub(super) struct Batch {
    text: Vec<u8>,
    operations: usize,
    held: Held,
}

/// What the library reads under another name than GraphQL over HTTP gives it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    operation_name: Option<String>,
}

impl Asked {
    /// From the address of a GET.
    ///
    /// # Errors
    /// `InvalidDocument` for what is no request, and as [`Held::resize`].
    pub(super) async fn in_address(limits: &LimitsConfig, mut held: Held, uri: &Uri) -> Result<Self> {
        let Query(parameters) = Query::<Parameters>::try_from_uri(uri).map_err(|error| unreadable_address(&error))?;
        held.resize(weight(uri.query().unwrap_or_default().as_bytes()))?;
        // The body stays where it is: the library would read it for some methods.
        let address = HttpRequest::get(uri.clone()).body(Body::empty()).map_err(|error| unreadable_address(&error))?;
        let read = GraphQLRequest::<GraphQLRejection>::from_request(address, &()).await;
        let mut request = read.map_err(|GraphQLRejection(error)| unreadable_address(&error))?.into_inner();
        if request.query.is_empty() {
            return Err(invalid_document("Give the document in the parameter `query`"));
        }
        if request.query.len() > limits.max_body_bytes {
            return Err(too_large(limits));
        }
        request.operation_name = parameters.operation_name.or(request.operation_name);
        Ok(Asked::One(One { text: Text::Read(Box::new(request)), held }))
    }

    /// From the body of a POST, which is counted while it comes.
    ///
    /// # Errors
    /// `InvalidDocument` for what is no request, `CostExceeded` for one that is too large, and as [`Held::resize`].
    pub(super) async fn in_body(
        limits: &LimitsConfig,
        mut held: Held,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(invalid_document("Send Content-Type: application/json"));
        }
        // A body that is unpacked does not say how long it gets.
        let unpacking = if body.size_hint().exact().is_some() { 0 } else { UNPACKING_BYTES };
        held.resize(unpacking)?;
        let mut text = Vec::new();
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| invalid_document(&format!("The body cannot be read: {error}")))?;
            let length = text.len().saturating_add(part.len());
            if length > limits.max_body_bytes {
                return Err(too_large(limits));
            }
            held.resize(COPIES.saturating_mul(length).saturating_add(unpacking))?;
            text.extend_from_slice(&part);
        }
        drop(parts);
        text.shrink_to_fit();
        Asked::in_text(held, text)
    }

    fn in_text(mut held: Held, text: Vec<u8>) -> Result<Self> {
        let outline = Outline::of(&text);
        let is_batch = text.trim_ascii_start().first() == Some(&b'[');
        if is_batch && outline.items > MAX_BATCH {
            return Err(wrong_batch());
        }
        held.resize(outline.weight())?;
        Ok(match is_batch {
            true => Asked::Batch(Batch { text, operations: outline.items, held }),
            false => Asked::One(One { text: Text::Body(text), held }),
        })
    }
}

impl One {
    /// Reads it. It counts as held for as long as what comes beside it is there.
    ///
    /// # Errors
    /// `InvalidDocument` for what is no request.
    pub(super) fn read(self) -> Result<(Request, Held)> {
        let request = match self.text {
            Text::Read(request) => *request,
            Text::Body(text) => {
                let mut request: Request = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
                note_numbers(std::slice::from_mut(&mut request), &text);
                request
            }
        };
        Ok((request, self.held))
    }
}

impl Batch {
    /// How many operations it has, at most ten.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Reads it, as [`One::read`].
    ///
    /// # Errors
    /// `InvalidDocument` where anything in it is no request.
    pub(super) fn read(self) -> Result<(Vec<Request>, Held)> {
        let mut requests: Vec<Request> = serde_json::from_slice(&self.text).map_err(|error| unreadable(&error))?;
        if requests.is_empty() || requests.len() > MAX_BATCH {
            return Err(wrong_batch());
        }
        note_numbers(&mut requests, &self.text);
        Ok((requests, self.held))
    }
}

/// What a text in JSON weighs while it is held, in bytes.
pub(super) fn weight(text: &[u8]) -> usize {
    Outline::of(text).weight()
}

/// What is seen of a text in JSON without reading it. Of one that is no JSON it says something, too.
#[derive(Debug, PartialEq, Eq)]
struct Outline {
    length: usize,
    /// About how many values there are: lists, objects, and what stands in them.
    values: usize,
    /// Items of the outermost list.
    items: usize,
}

impl Outline {
    fn of(text: &[u8]) -> Self {
        let mut outline = Outline { length: text.len(), values: 1, items: 1 };
        let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
        for byte in text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = is_text,
                b'"' => is_text = !is_text,
                _ if is_text => {}
                b'[' | b'{' => {
                    outline.values += 1;
                    depth += 1;
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => {
                    outline.values += 1;
                    outline.items += usize::from(depth == 1);
                }
                _ => {}
            }
        }
        outline
    }

    fn weight(&self) -> usize {
        let values = VALUE_BYTES.saturating_mul(self.values);
        COPIES.saturating_mul(self.length).saturating_add(values)
    }
}

fn invalid_document(message: &str) -> Error {
    Error::new(Code::InvalidDocument, message.to_owned())
}

// serde_json refuses to nest deeper than 128.
fn unreadable(error: &serde_json::Error) -> Error {
    invalid_document(&format!("The body is not a GraphQL request in JSON: {error}"))
}

fn unreadable_address(error: &dyn std::error::Error) -> Error {
    invalid_document(&format!("The parameters are not a GraphQL request: {error}"))
}

fn wrong_batch() -> Error {
    invalid_document(&format!("A batch holds 1 to {MAX_BATCH} requests"))
}

fn too_large(limits: &LimitsConfig) -> Error {
    Error::new(Code::CostExceeded, format!("The request is larger than {} bytes", limits.max_body_bytes))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{
        config::{Config, Sources},
        domain::ClientAddress,
        http::held_bytes::HeldBytes,
    };

    fn limits() -> LimitsConfig {
        Config::load(&Sources::from_variables([("RAGBOARD_MAX_BODY_BYTES", "100000")])).unwrap().limits
    }

    fn held() -> Held {
        HeldBytes::new(&limits()).hold(ClientAddress::from(IpAddr::from([192, 0, 2, 1])))
    }

    fn in_text(text: &str) -> Result<Asked> {
        Asked::in_text(held(), text.as_bytes().to_vec())
    }

    fn message(asked: Result<Asked>) -> String {
        asked.err().map(|error| error.message().to_owned()).unwrap_or_default()
    }

    #[test]
    fn an_outline_counts_values_and_the_items_of_a_batch() {
        for (text, values, items) in [
            ("", 1, 1),
            ("7", 1, 1),
            ("[]", 2, 1),
            ("[1,2,3]", 4, 3),
            (r#"[{"query":"{a,b}"},{"query":"[,]"}]"#, 5, 2),
            (r#"{"a":[1,2],"b":{"c":3}}"#, 6, 2),
            (r#"["\",","\\",","]"#, 4, 3),
            ("]],,", 3, 1),
        ] {
            let outline = Outline::of(text.as_bytes());
            assert_eq!(outline, Outline { length: text.len(), values, items }, "{text}");
        }
    }

    #[test]
    fn a_batch_is_refused_at_its_eleventh_request_before_it_is_read() {
        // Whoever reads it comes to the end of the text first.
        let nonsense = format!("[{}nonsense", "{},".repeat(10));
        assert_eq!(message(in_text(&nonsense)), "A batch holds 1 to 10 requests");
        let Ok(Asked::Batch(batch)) = in_text(&format!("[{}{{}}]", "{},".repeat(9))) else { panic!("ten are refused") };
        assert_eq!((batch.operations(), batch.read().map(|(requests, _)| requests.len()).ok()), (10, Some(10)));
        let Ok(Asked::Batch(batch)) = in_text(" [] ") else { panic!("it may be one until it is read") };
        assert!(batch.read().is_err());
    }

    #[test]
    fn what_holds_more_values_than_fit_is_refused_before_it_is_read() {
        let many = format!("{{\"query\":\"{{a}}\",\"variables\":{{\"a\":[{}0]}}}}", "0,".repeat(200_000));
        assert_eq!(in_text(&many).err().map(|error| error.code()), Some(Code::CostExceeded));
        // The same length in one text is nothing.
        let long = format!("{{\"query\":\"{{a}}\",\"variables\":{{\"a\":\"{}\"}}}}", "0,".repeat(200_000));
        assert!(in_text(&long).is_ok());
    }

    #[tokio::test]
    async fn a_body_is_taken_in_up_to_its_bound() {
        let mut headers = HeaderMap::new();
        let taken = async |headers: &HeaderMap, length: usize| {
            let text = format!("{{\"query\":\"{}\"}}", "x".repeat(length));
            Asked::in_body(&limits(), held(), headers, Body::from(text)).await
        };
        assert_eq!(message(taken(&headers, 1).await), "Send Content-Type: application/json");
        headers.insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        let Ok(Asked::One(one)) = taken(&headers, 90_000).await else { panic!("it fits") };
        assert_eq!(one.read().map(|(request, _)| request.query.len()).ok(), Some(90_000));
        assert_eq!(message(taken(&headers, 100_000).await), "The request is larger than 100000 bytes");
    }

    #[tokio::test]
    async fn an_address_holds_the_document_its_name_and_its_variables() {
        let read = async |uri: &str| {
            let asked = Asked::in_address(&limits(), held(), &uri.parse().unwrap()).await?;
            let Asked::One(one) = asked else { panic!("it is no batch") };
            one.read().map(|(request, _)| request)
        };
        let request = read("/graphql?query=%7Ba%7D&operationName=A&variables=%7B%22b%22%3A1%7D").await.unwrap();
        assert_eq!((request.query.as_str(), request.operation_name.as_deref()), ("{a}", Some("A")));
        assert_eq!(serde_json::to_string(&request.variables).unwrap(), "{\"b\":1}");
        for uri in ["/graphql", "/graphql?query=", "/graphql?query=%7Ba%7D&variables=%7B", "/graphql?query=a&query=b"] {
            assert_eq!(read(uri).await.err().map(|error| error.code()), Some(Code::InvalidDocument), "{uri}");
        }
    }
}
