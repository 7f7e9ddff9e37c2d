//! Responses as they are written: JSON, with shared texts as strings, and never longer than an answer may be.
//!
//! What the transport puts around them is `http/`.

use std::io;

use async_graphql::{Response, ServerError, Value};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap, SerializeSeq},
};

/// A response in the form in which it is sent.
pub struct Wire<'a>(pub &'a Response);

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.0.errors.is_empty() {
            map.serialize_entry::<str, [ServerError]>("errors", &self.0.errors)?;
        }
        map.serialize_entry("data", &Shared(&self.0.data))?;
        if !self.0.extensions.is_empty() {
            map.serialize_entry("extensions", &self.0.extensions)?;
        }
        map.end()
    }
}

/// A value in which texts may be shared.
struct Shared<'a>(&'a Value);

impl Serialize for Shared<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Binary(text) => serializer.serialize_str(std::str::from_utf8(text).map_err(S::Error::custom)?),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(&Shared(value)))?;
                list.end()
            }
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name.as_str(), &Shared(value)))?;
                map.end()
            }
            simple => simple.serialize(serializer),
        }
    }
}

/// Writes a response; `None` where it would be longer than `most` bytes.
///
/// # Errors
/// Where a value has no form in JSON, which no value of the API is without.
pub(super) fn write(response: &Response, most: usize) -> serde_json::Result<Option<Vec<u8>>> {
    let mut writer = Bounded { written: Vec::new(), most, is_full: false };
    match serde_json::to_writer(&mut writer, &Wire(response)) {
        Ok(()) => Ok(Some(writer.written)),
        Err(_) if writer.is_full => Ok(None),
        Err(error) => Err(error),
    }
}

struct Bounded {
    written: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > self.most {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;
    use bytes::Bytes;

    use super::*;

    #[test]
    fn it_is_written_as_the_library_would() {
        let mut response = Response::new(value!({ "a": [1, 2.5, null, true, "x\"\n"], "b": { "c": "d" } }));
        response.errors.push(ServerError::new("wrong", None));
        let written = write(&response, 1_000).unwrap().unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&response).unwrap());
    }

    #[test]
    fn a_shared_text_is_a_string() {
        let response = Response::new(Value::Binary(Bytes::from_static("é\"".as_bytes())));
        assert_eq!(write(&response, 1_000).unwrap().unwrap(), "{\"data\":\"é\\\"\"}".as_bytes());
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let response = Response::new(Value::String("x".repeat(1_000)));
        assert_eq!(write(&response, 1_000).unwrap(), None);
        assert!(write(&response, 1_100).unwrap().is_some());
    }
}
