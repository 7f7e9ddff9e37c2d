//! Ids and the scalars that GraphQL does not have.

use std::str::FromStr;

use async_graphql::{ID, InputValueError, InputValueResult, Scalar, ScalarType, Value};

use crate::domain::{Error, Result};

/// Longer texts are not ids; they are not looked at.
const MAX_ID_LEN: usize = 64;

/// Reads an id that a client sent.
pub(super) fn parse_id<T: FromStr<Err = Error>>(id: &ID) -> Result<T> {
    if id.len() > MAX_ID_LEN {
        return Err(Error::invalid("Not a valid id: longer than any id of this API"));
    }
    id.parse()
}

/// Writes an id.
pub(super) fn id(id: impl ToString) -> ID {
    ID(id.to_string())
}

/// An absolute URL of http or https, as text: at most 2,000 characters, without name and password, blanks and characters that
/// are not seen.
pub(super) struct Url(pub(super) String);

/// An absolute URL of http or https, as text: at most 2,000 characters, without name and password, blanks and characters that
/// are not seen.
#[Scalar(name = "URL", specified_by_url = "https://url.spec.whatwg.org/")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Url(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A colour: `#` and six hexadecimal digits, red, green and blue.
pub(super) struct HexColor(pub(super) String);

/// A colour: `#` and six hexadecimal digits, red, green and blue.
#[Scalar(name = "HexColor")]
impl ScalarType for HexColor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(HexColor(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}
