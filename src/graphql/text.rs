//! Long texts and JSON on their way out: a text is shared with memory instead of being copied for each field that shows
//! it, and both are counted before they are put into the answer.
//!
//! A shared text travels as `Value::Binary`, which the API has no other use for; `wire.rs` writes it as a string.

use std::{borrow::Cow, sync::Arc};

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerResult, Value, parser::types::Field, registry::Registry,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::{budget, error};

/// Shorter texts are copied: that is cheaper than sharing them.
const SHARED_FROM: usize = 256;

/// A text that may be long.
pub(super) struct Text(Value, u64);

impl Text {
    /// The text that `part` takes out of `of`, shared with it.
    pub(super) fn of<T: Send + Sync + 'static>(of: &Arc<T>, part: fn(&T) -> Option<&str>) -> Option<Text> {
        let text = part(of)?;
        let length = text.len();
        let value = if length < SHARED_FROM {
            Value::String(text.to_owned())
        } else {
            Value::Binary(Bytes::from_owner(Part { of: Arc::clone(of), part }))
        };
        Some(Text(value, length as u64))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let length = text.len() as u64;
        Text(Value::String(text), length)
    }
}

struct Part<T> {
    of: Arc<T>,
    part: fn(&T) -> Option<&str>,
}

impl<T> AsRef<[u8]> for Part<T> {
    fn as_ref(&self) -> &[u8] {
        (self.part)(&self.of).unwrap_or_default().as_bytes()
    }
}

#[async_trait]
impl OutputType for Text {
    fn type_name() -> Cow<'static, str> {
        String::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <String as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let taken = budget::of(ctx).map_or(Ok(()), |budget| budget.take_bytes(self.1));
        taken.map_err(|error| error::at(ctx, field.pos, error))?;
        Ok(self.0.clone())
    }
}
