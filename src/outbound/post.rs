//! Sending: JSON to a place that the settings name, with its key.
//!
//! The addresses are checked as for fetching. Nothing is sent twice and no redirect is followed: what is sent, and its key,
//! goes to that place and to no other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use secrecy::{ExposeSecret, SecretString};

use super::{Outbound, body, client, failed, uncompressed};
use crate::domain::{Code, Error, Post, Posted, Result};

impl Outbound {
    /// Sends JSON and gives the answer of at most `max_bytes`, whatever its status, within `timeout` from resolving to the last
    /// byte. `bearer` is sent as `Authorization`. Redirects are not followed.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that may not be reached or an answer that is too large, `Timeout`, and `Overloaded` when there
    /// was no answer. The cause says more, for the log.
    pub async fn post(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        json: Vec<u8>,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Posted> {
        tokio::time::timeout(timeout, self.send(url, bearer, json, max_bytes))
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Timeout, "The address did not answer in time")))
    }

    /// A fixed place that JSON is sent to, as a port for those who need only that.
    #[must_use]
    pub fn endpoint(
        &self,
        url: impl Into<String>,
        bearer: Option<SecretString>,
        max_bytes: usize,
        timeout: Duration,
    ) -> Endpoint {
        Endpoint { outbound: self.clone(), url: url.into(), bearer, max_bytes, timeout }
    }

    async fn send(&self, url: &str, bearer: Option<&SecretString>, json: Vec<u8>, max_bytes: usize) -> Result<Posted> {
        let url = self.checked(url)?;
        let sender = || client(&self.0.rules, redirect::Policy::none());
        let sender = self.0.sender.get_or_init(sender).as_ref().map_err(Clone::clone)?;
        let mut request = sender.post(url).header(CONTENT_TYPE, "application/json").body(json);
        if let Some(bearer) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", bearer.expose_secret()))
                .map_err(|_| Error::internal("the key has characters that no header can carry"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.send().await.map_err(failed)?;
        uncompressed(&response)?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        Ok(Posted { status, body: body(response, max_bytes).await?, retry_after })
    }
}

/// See [`Outbound::endpoint`].
pub struct Endpoint {
    outbound: Outbound,
    url: String,
    bearer: Option<SecretString>,
    max_bytes: usize,
    timeout: Duration,
}

#[async_trait::async_trait]
impl Post for Endpoint {
    async fn post(&self, json: Vec<u8>) -> Result<Posted> {
        self.outbound.post(&self.url, self.bearer.as_ref(), json, self.max_bytes, self.timeout).await
    }
}

/// Seconds, or a date; none when it is neither.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    // A moment that has passed means now.
    Some((date.to_utc() - Utc::now()).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_in_seconds_or_by_date_when_to_come_back() {
        let after = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(after("Wed, 21 Oct 2099 07:28:00 GMT").unwrap() > Duration::from_secs(1_000_000));
        for none in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(none), None, "{none}");
        }
    }
}
