//! The only place where the program's errors become GraphQL errors.
//!
//! Resolvers return `domain::Error` with `?`; async-graphql carries it along as the source of its own error, and
//! [`settle`] gives each error of a finished response its code. What is not ours comes from the parser, the validator or
//! the limits of the library, and gets a code too: no error leaves without one. Internal causes go to the log under a
//! trace id, and only the id goes to the client.

use std::sync::Arc;

use async_graphql::{ContextBase, Pos, Response, ServerError, Value};

use super::Answer;
use crate::{
    domain::{Code, Error},
    telemetry::{self, Often},
};

/// Errors that one answer tells; the others are like them.
const MAX_ERRORS: usize = 50;
/// Characters of one message. Messages of the library repeat what they do not like.
const MAX_MESSAGE_CHARS: usize = 500;
/// Errors that are no fault of the program, in the log.
static OFTEN: Often = Often::new();

/// An error at a field, for what is resolved without a resolver's `?`.
pub(super) fn at<T>(ctx: &ContextBase<'_, T>, pos: Pos, error: Error) -> ServerError {
    let mut at_field = ServerError::new(error.to_string(), Some(pos));
    at_field.source = Some(Arc::new(error));
    ctx.set_error_path(at_field)
}

/// Gives every error its code and takes out what clients must not see.
pub(super) fn settle(mut response: Response) -> Response {
    response.errors.truncate(MAX_ERRORS);
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
                // In an outage every answer has the same reason.
                if let Some(left_out) = OFTEN.line(own.message()) {
                    tracing::warn!(code = code.as_str(), %cause, left_out, "{own}");
                }
            }
            code
        }
        None => foreign(&error.message, !error.path.is_empty()),
    };
    if let Some((end, _)) = error.message.char_indices().nth(MAX_MESSAGE_CHARS) {
        error.message.truncate(end);
        error.message.push('…');
    }
    error.source = None;
    error.extensions.get_or_insert_default().set("code", Value::from(code.as_str()));
}

/// Codes of errors that the GraphQL library raises.
fn foreign(message: &str, is_in_a_field: bool) -> Code {
    if message.starts_with("The recursion depth of the query") {
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
    refused.source = Some(Arc::new(error.clone()));
    settle(Response::from_errors(vec![refused]))
}
