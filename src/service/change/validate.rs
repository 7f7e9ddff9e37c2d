//! What values nodes, links and boards may have. The database checks most of it again; here it is told in the words of
//! the API, and which field it is about.

use super::web_address;
use crate::domain::{Board, CHAT_MODELS, Link, Node, NodeEdit, NodeKind, Refusal, User};
use serde_json::Value;

/// Bytes of a text of a resource.
const MAX_CONTENT_BYTES: usize = 1 << 20;
/// Bytes of metadata, settings and styles, as JSON.
const MAX_JSON_BYTES: usize = 64 << 10;
/// Bytes of what is shown beside a cursor, as JSON.
const MAX_STATE_BYTES: usize = 1024;
/// Pixels from the middle of the canvas.
const MAX_COORDINATE: f64 = 1e9;
/// Pixels of width and height.
const MAX_SIDE: f64 = 1e6;
const MAX_LIST: usize = 100;

type Check = Result<(), Refusal>;

fn ensure(holds: bool, field: &str, message: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Refusal::invalid(field, message())) }
}

/// A text of at most so many characters, without NUL, which PostgreSQL cannot store.
fn text(field: &str, text: &str, max_chars: usize) -> Check {
    ensure(!text.contains('\0'), field, || "NUL characters cannot be stored".to_owned())?;
    ensure(text.len() <= max_chars || text.chars().count() <= max_chars, field, || {
        format!("At most {max_chars} characters")
    })
}

/// A name of at most 255 characters that is not blank.
pub(in crate::service) fn name(field: &str, name: &str) -> Check {
    ensure(!name.trim().is_empty(), field, || "A name cannot be empty".to_owned())?;
    text(field, name, 255)
}

fn optional(field: &str, value: Option<&String>, max_chars: usize) -> Check {
    value.map_or(Ok(()), |value| text(field, value, max_chars))
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn object(field: &str, value: &Value) -> Check {
    ensure(value.is_object(), field, || "An object is expected".to_owned())?;
    ensure(!has_nul(value), field, || "NUL characters cannot be stored".to_owned())?;
    let fits = serde_json::to_vec(value).is_ok_and(|bytes| bytes.len() <= MAX_JSON_BYTES);
    ensure(fits, field, || format!("At most {MAX_JSON_BYTES} bytes as JSON"))
}

/// An address, where one is given: one that is stored already may be of a time when more was taken.
fn address(field: &str, given: &[&str], address: Option<&String>) -> Check {
    let fault = address.filter(|_| given.contains(&field)).and_then(|address| web_address::fault(address));
    fault.map_or(Ok(()), |fault| Err(Refusal::invalid(field, fault)))
}

fn range<T: PartialOrd + std::fmt::Display>(field: &str, value: T, from: T, to: T) -> Check {
    ensure(value >= from && value <= to, field, || format!("From {from} to {to}"))
}

/// A node as it is to be.
pub(super) fn node(node: &Node, edit: &dyn NodeEdit) -> Check {
    let rect = node.rect;
    range("position", rect.x, -MAX_COORDINATE, MAX_COORDINATE)?;
    range("position", rect.y, -MAX_COORDINATE, MAX_COORDINATE)?;
    range("size", rect.width, 0.0, MAX_SIDE)?;
    range("size", rect.height, 0.0, MAX_SIDE)?;
    object("metadata", &node.metadata)?;
    if let Some(Some(content)) = edit.content() {
        ensure(!content.contains('\0'), "content", || "NUL characters cannot be stored".to_owned())?;
        ensure(content.len() <= MAX_CONTENT_BYTES, "content", || format!("At most {MAX_CONTENT_BYTES} bytes"))?;
    }
    match &node.kind {
        NodeKind::Resource(resource) => {
            optional("title", resource.title.as_ref(), 500)?;
            address("url", &edit.fields(), resource.url.as_ref())?;
            optional("language", resource.language.as_ref(), 10)
        }
        NodeKind::Chat(chat) => {
            let is_known = CHAT_MODELS.contains(&chat.model.as_str());
            ensure(is_known, "model", || format!("One of {}", CHAT_MODELS.join(", ")))?;
            let is_complete = chat.model != "custom" || chat.custom_model_endpoint.is_some();
            ensure(is_complete, "customModelEndpoint", || "A custom model needs its address".to_owned())?;
            address("customModelEndpoint", &edit.fields(), chat.custom_model_endpoint.as_ref())?;
            optional("systemPrompt", chat.system_prompt.as_ref(), 100_000)?;
            range("temperature", chat.temperature, 0.0, 2.0)?;
            range("maxTokens", chat.max_tokens, 1, 1_000_000)?;
            range("topP", chat.top_p, 0.0, 1.0)?;
            range("frequencyPenalty", chat.frequency_penalty, -2.0, 2.0)?;
            range("presencePenalty", chat.presence_penalty, -2.0, 2.0)?;
            range("contextWindowSize", chat.context_window_size, 0, 10_000)?;
            ensure(chat.stop_sequences.len() <= MAX_LIST, "stopSequences", || format!("At most {MAX_LIST}"))?;
            chat.stop_sequences.iter().try_for_each(|stop| text("stopSequences", stop, 1_000))
        }
        NodeKind::Folder(folder) => {
            name("name", &folder.name)?;
            optional("description", folder.description.as_ref(), 10_000)?;
            let digits = folder.color.strip_prefix('#').unwrap_or_default();
            let is_color = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            ensure(is_color, "color", || "# and six hexadecimal digits are expected".to_owned())?;
            text("icon", &folder.icon, 50)?;
            let items = folder.max_items.unwrap_or(1);
            range("maxItems", items, 1, 1_000_000)
        }
    }
}

/// A link as it is to be.
pub(super) fn link(link: &Link) -> Check {
    optional("label", link.label.as_ref(), 255)?;
    object("style", &link.style)?;
    object("metadata", &link.metadata)
}

/// A cursor, and what else is shown beside it.
pub(in crate::service) fn presence(cursor: Option<(f64, f64)>, state: Option<&Value>) -> Check {
    for coordinate in cursor.into_iter().flat_map(|(x, y)| [x, y]) {
        range("cursor", coordinate, -MAX_COORDINATE, MAX_COORDINATE)?;
    }
    let Some(state) = state else { return Ok(()) };
    ensure(!has_nul(state), "state", || "NUL characters cannot be stored".to_owned())?;
    let fits = serde_json::to_vec(state).is_ok_and(|bytes| bytes.len() <= MAX_STATE_BYTES);
    ensure(fits, "state", || format!("At most {MAX_STATE_BYTES} bytes as JSON"))
}

/// A display name of an account.
pub(in crate::service) fn account_name(name: &str) -> Check {
    text("name", name, 255)
}

/// An account as it is to be, where these parts are given.
pub(in crate::service) fn account(account: &User, given: &[&str]) -> Check {
    account.name.as_deref().map_or(Ok(()), account_name)?;
    address("avatarUrl", given, account.avatar_url.as_ref())?;
    object("settings", &account.settings)
}

/// A board as it is to be, where these parts are given.
pub(in crate::service) fn board(board: &Board, given: &[&str]) -> Check {
    name("name", &board.name)?;
    optional("description", board.description.as_ref(), 10_000)?;
    address("thumbnailUrl", given, board.thumbnail_url.as_ref())?;
    object("settings", &board.settings)
}
