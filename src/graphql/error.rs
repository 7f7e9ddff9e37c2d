//! The only place where the program's errors become GraphQL errors.
//!
//! Resolvers return `domain::Error` with `?`; async-graphql carries it along as the source of its own error, and
//! [`settle`] gives each error of a finished response its code. What is not ours comes from the parser, the validator or
//! the limits of the library, and gets a code too: no error leaves without one. Internal causes go to the log under a
//! trace id, and only the id goes to the client.

use async_graphql::{Response, ServerError, Value};

use super::Answer;
use crate::{
    domain::{Code, Error},
    telemetry,
};

/// Gives every error its code and takes out what clients must not see.
pub(super) fn settle(mut response: Response) -> Response {
    for error in &mut response.errors {
        settle_one(error);
    }
    response
}

fn settle_one(error: &mut ServerError) {
    let code = match error.source::<Error>() {
        Some(own) => {
            let code = own.code();
            if code == Code::Internal {
                let trace_id = telemetry::trace_id();
                tracing::error!(%trace_id, cause = ?own.cause(), path = ?error.path, "Internal error {trace_id}");
                error.message = format!("Internal error (trace id {trace_id})");
            } else if let Some(cause) = own.cause() {
                tracing::warn!(code = code.as_str(), %cause, "{own}");
            }
            code
        }
        None => foreign(&error.message, !error.path.is_empty()),
    };
    error.source = None;
    error.extensions.get_or_insert_default().set("code", Value::from(code.as_str()));
}

/// Codes of errors that the GraphQL library raises.
fn foreign(message: &str, is_in_a_field: bool) -> Code {
    let too_much = ["Query is nested too deep", "The recursion depth of the query"];
    if too_much.iter().any(|start| message.starts_with(start)) {
        Code::CostExceeded
    } else if is_in_a_field {
        // Arguments and variables that do not parse are reported at the field that takes them.
        Code::InvalidArgument
    } else {
        Code::InvalidDocument
    }
}

/// An answer that only says why nothing was done.
#[must_use]
pub fn refusal(error: &Error) -> Answer {
    refused(error).into()
}

/// A response that only says why nothing was done.
#[must_use]
pub fn refused(error: &Error) -> Response {
    let mut refused = ServerError::new(error.message(), None);
    refused.source = Some(std::sync::Arc::new(error.clone()));
    settle(Response::from_errors(vec![refused]))
}
