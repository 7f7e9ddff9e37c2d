//! What a client says of itself, for the list of sessions. It may say anything; nothing rests on it.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

/// Longer ones are cut.
const MOST_BYTES: usize = 512;

/// What the client calls itself, at most 512 bytes of printable ASCII.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.get(..text.len().min(MOST_BYTES))?.into())
}
