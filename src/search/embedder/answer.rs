//! What a server of embeddings is sent and what it may answer, in OpenAI's protocol.
//!
//! Text to bytes and bytes to vectors; sending, waiting and trying again are `http.rs`. An answer is believed only when it
//! has exactly one usable vector for each text.

use serde::{Deserialize, Serialize};

use super::normalised;
use crate::domain::{Error, Result};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Vec<f32>,
}

/// The body of a request; `dimensions` only for servers that are to shorten their vectors.
pub(super) fn request(model: &str, input: &[String], dimensions: Option<usize>) -> Result<Vec<u8>> {
    let request = Request { model, input, encoding_format: "float", dimensions };
    serde_json::to_vec(&request).map_err(Error::internal)
}

/// As many bytes as an answer with `texts` vectors may have: numbers are written with at most 25 characters and some space.
pub(super) fn max_bytes(texts: usize, dimensions: usize) -> usize {
    texts * (dimensions * 32 + 1024) + 64 * 1024
}

/// The vectors in the order of the texts, each of unit length.
///
/// # Errors
/// `Internal` with what is wrong for the log.
pub(super) fn vectors(body: &[u8], texts: usize, dimensions: usize) -> Result<Vec<Vec<f32>>> {
    let unusable = |why: String| Error::internal(format!("the server of embeddings {why}"));
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        // The parser's own text may quote the answer.
        unusable(format!("answered something else than vectors (line {}, column {})", error.line(), error.column()))
    })?;
    if answer.data.len() != texts {
        return Err(unusable(format!("gave {} vectors for {texts} texts", answer.data.len())));
    }
    let mut vectors = vec![None; texts];
    for Item { index, embedding } in answer.data {
        if embedding.len() != dimensions {
            return Err(unusable(format!("gave {} dimensions, not {dimensions}", embedding.len())));
        }
        match vectors.get_mut(index) {
            Some(place @ None) => *place = Some(normalised(embedding)?),
            Some(Some(_)) => return Err(unusable(format!("gave index {index} twice"))),
            None => return Err(unusable(format!("gave index {index} for {texts} texts"))),
        }
    }
    vectors.into_iter().collect::<Option<_>>().ok_or_else(|| unusable("left out a text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_as_the_protocol_says() {
        let texts = ["a".to_owned(), "b\"".to_owned()];
        let text = String::from_utf8(request("m", &texts, None).unwrap()).unwrap();
        assert_eq!(text, r#"{"model":"m","input":["a","b\""],"encoding_format":"float"}"#);
        let text = String::from_utf8(request("m", &texts, Some(256)).unwrap()).unwrap();
        assert!(text.ends_with(r#","dimensions":256}"#), "{text}");
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let body = r#"{"object":"list","data":[{"object":"embedding","index":1,"embedding":[0,2]},
            {"index":0,"embedding":[3.0,4e0]}],"model":"m","usage":{"total_tokens":2}}"#;
        assert_eq!(vectors(body.as_bytes(), 2, 2).unwrap(), [vec![0.6, 0.8], vec![0.0, 1.0]]);
    }

    #[test]
    fn half_answers_are_none() {
        let cases = [
            (r#"{"data":[{"index":0,"embedding":[1,0]}]}"#, "1 vectors for 2"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}]}"#, "twice"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":2,"embedding":[1,0]}]}"#, "index 2"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1,0,0]}]}"#, "3 dimensions"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[0,0]}]}"#, "without a length"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1e39,0]}]}"#, "something else"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[null,0]}]}"#, "something else"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embe"#, "something else"),
            (r#"{"data":[{"embedding":[1,0]},{"embedding":[1,0]}]}"#, "something else"),
            (r#"{"error":{"message":"key sk-1 is wrong"}}"#, "something else"),
        ];
        for (body, why) in cases {
            let error = vectors(body.as_bytes(), 2, 2).unwrap_err();
            let cause = error.cause().unwrap().to_string();
            assert!(cause.contains(why) && !cause.contains("sk-1"), "{body}: {cause}");
        }
    }
}
