//! Who is asking: credentials from headers or a `connection_init`. Where a request comes from is read in `forwarded.rs`.
//!
//! Credentials travel in headers and `connection_init` only, never in cookies or URLs. A credential that is presented and not valid refuses the
//! request: nobody silently becomes anonymous.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use secrecy::SecretString;
use serde_json::Value;

use super::{Gateway, forwarded};
use crate::{
    access::{Caller, Viewer},
    domain::{ClientAddress, Error, Result},
};

/// Header with the token of a share link.
pub(super) const SHARE_TOKEN: &str = "x-share-token";
/// Header with the password of a share link.
pub(super) const SHARE_PASSWORD: &str = "x-share-password";
/// Header with the tokens of folders that were opened with their passwords, separated by commas.
pub(super) const UNLOCK_TOKEN: &str = "x-unlock-token";

/// What is presented with a request, or at the opening of a socket.
#[derive(Default)]
pub(super) struct Presented {
    bearer: Option<SecretString>,
    share_token: Option<SecretString>,
    share_password: Option<SecretString>,
    unlock_tokens: Option<SecretString>,
}

impl Presented {
    /// From the headers of a request.
    ///
    /// # Errors
    /// `Unauthenticated` for what cannot be read.
    pub(super) fn in_headers(headers: &HeaderMap) -> Result<Self> {
        let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
        let bearer = bearers.next().map(|value| bearer(value.to_str().unwrap_or_default())).transpose()?;
        if bearers.next().is_some() {
            return Err(wanted());
        }
        Ok(Presented {
            bearer,
            share_token: token(headers, SHARE_TOKEN)?,
            share_password: headers.get(SHARE_PASSWORD).map(|value| password(value.as_bytes())).transpose()?,
            unlock_tokens: token(headers, UNLOCK_TOKEN)?,
        })
    }

    /// From the payload of a `connection_init`, whose texts are taken as they are: the rules of headers do not hold for JSON.
    ///
    /// # Errors
    /// `Unauthenticated` for what is no text, or there twice.
    pub(super) fn in_payload(payload: &Value) -> Result<Self> {
        let mut presented = Presented::default();
        let Some(fields) = payload.as_object() else { return Ok(presented) };
        for (name, value) in fields {
            let place = match name.to_ascii_lowercase().as_str() {
                "authorization" => &mut presented.bearer,
                SHARE_TOKEN => &mut presented.share_token,
                SHARE_PASSWORD => &mut presented.share_password,
                UNLOCK_TOKEN => &mut presented.unlock_tokens,
                _ => continue,
            };
            let text = value.as_str().ok_or_else(|| Error::unauthenticated(format!("{name} is no text")))?;
            let secret = if name.eq_ignore_ascii_case("authorization") { bearer(text)? } else { text.into() };
            if place.replace(secret).is_some() {
                return Err(Error::unauthenticated(format!("{name} is there twice")));
            }
        }
        Ok(presented)
    }
}

/// The viewer of a request. Until it is known who asks, the work is done for the address.
pub(super) async fn viewer(gateway: &Gateway, headers: &HeaderMap, address: ClientAddress) -> Result<Viewer> {
    viewer_of(gateway, Presented::in_headers(headers)?, address).await
}

/// The viewer whom credentials make. Until it is known who asks, the work is done for the address.
pub(super) async fn viewer_of(gateway: &Gateway, presented: Presented, address: ClientAddress) -> Result<Viewer> {
    Caller::Address(address).scope(known(gateway, presented, address)).await
}

async fn known(gateway: &Gateway, presented: Presented, address: ClientAddress) -> Result<Viewer> {
    let viewer = match &presented.bearer {
        Some(token) => gateway.services.viewer_of_token(token, address).await?,
        None => Viewer::anonymous(),
    };
    let viewer = match &presented.share_token {
        Some(token) => {
            let password = presented.share_password.as_ref();
            let share = gateway.services.hold_share(&viewer, token, password, address).await?;
            let ended = "This share link does not exist, was revoked, has expired or is used up";
            viewer.holding(share.ok_or_else(|| Error::unauthenticated(ended))?)
        }
        None => viewer,
    };
    match &presented.unlock_tokens {
        Some(tokens) => gateway.services.with_unlocks(viewer, tokens).await,
        None => Ok(viewer),
    }
}

fn wanted() -> Error {
    Error::unauthenticated("Expected one header: Authorization: Bearer <token>")
}

fn bearer(text: &str) -> Result<SecretString> {
    let (scheme, token) = text.split_once(' ').ok_or_else(wanted)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(wanted());
    }
    Ok(SecretString::from(token.trim()))
}

fn token(headers: &HeaderMap, name: &'static str) -> Result<Option<SecretString>> {
    match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(SecretString::from(text))),
        Some(Err(_)) => Err(Error::unauthenticated(format!("{name} holds characters that no token has"))),
    }
}

/// A password out of a header. `utf-8''gr%C3%BC%C3%9Fe` (RFC 8187) carries every password there is, blanks at its ends and
/// controls included. Anything else stands for itself, in UTF-8; what is not UTF-8 is Latin-1, as browsers send it.
fn password(value: &[u8]) -> Result<SecretString> {
    const MARK: &[u8] = b"utf-8''";
    if let Some((mark, encoded)) = value.split_at_checked(MARK.len())
        && mark.eq_ignore_ascii_case(MARK)
    {
        let malformed =
            || Error::unauthenticated(format!("{SHARE_PASSWORD} begins with utf-8'' and is not percent-encoded UTF-8"));
        let decoded = percent_decoded(encoded).and_then(|bytes| String::from_utf8(bytes).ok());
        return decoded.map(SecretString::from).ok_or_else(malformed);
    }
    Ok(match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    })
}

/// `None` where a percent sign is not followed by two hexadecimal digits, or a byte is not ASCII.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            byte if byte.is_ascii() => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

/// The address a request comes from, as far as trusted proxies tell it.
pub(super) fn client_address(gateway: &Gateway, headers: &HeaderMap, peer: SocketAddr) -> ClientAddress {
    forwarded::client(&gateway.http, headers, peer).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(value: &[u8]) -> Option<String> {
        password(value).ok().map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn passwords_beyond_ascii_are_read_from_headers() {
        for (value, expected) in [
            ("plain".as_bytes(), "plain"),
            ("100%25".as_bytes(), "100%25"),
            ("Grüße-é-lang".as_bytes(), "Grüße-é-lang"),
            (b"Gr\xFC\xDFe", "Grüße"),
            ("пароль".as_bytes(), "пароль"),
            (b"utf-8''Gr%C3%BC%c3%9fe", "Grüße"),
            (b"UTF-8''%E6%BC%A2%E5%AD%97%F0%9F%94%91", "漢字🔑"),
            (b"utf-8''%20a%20b%20", " a b "),
            (b"utf-8''%0A%00", "\n\0"),
            (b"utf-8''", ""),
            (b"utf-8''utf-8''x", "utf-8''x"),
            (b"utf-8", "utf-8"),
        ] {
            assert_eq!(read(value).as_deref(), Some(expected));
        }
        for value in [&b"utf-8''%"[..], b"utf-8''%F", b"utf-8''%G0", b"utf-8''%FC", b"utf-8''\xC3\xBC"] {
            assert_eq!(read(value), None);
        }
    }

    #[test]
    fn texts_of_a_payload_are_taken_as_they_are() {
        let payload = serde_json::json!({
            "Authorization": "Bearer x", "x-share-token": "t", "X-Share-Password": " Grüße\n", "x-unlock-token": "a,b", "other": 1
        });
        let presented = Presented::in_payload(&payload).unwrap();
        let text = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        assert_eq!(text(&presented.bearer).as_deref(), Some("x"));
        assert_eq!(text(&presented.share_password).as_deref(), Some(" Grüße\n"));
        for payload in [
            serde_json::json!({ "authorization": "x" }),
            serde_json::json!({ "authorization": 1 }),
            serde_json::json!({ "x-share-token": "a", "X-Share-Token": "b" }),
        ] {
            assert!(Presented::in_payload(&payload).is_err(), "{payload}");
        }
        assert!(Presented::in_payload(&Value::Null).is_ok());
    }
}
