//! Who is asking: credentials from headers, and the address behind trusted proxies.
//!
//! Credentials travel in headers only, never in cookies or URLs. A credential that is presented and not valid refuses the
//! request: nobody silently becomes anonymous.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use secrecy::SecretString;

use super::Gateway;
use crate::{
    access::Viewer,
    domain::{ClientAddress, Error, Result},
};

/// Header with the token of a share link.
pub(super) const SHARE_TOKEN: &str = "x-share-token";
/// Header with the password of a share link.
pub(super) const SHARE_PASSWORD: &str = "x-share-password";
/// Header with the tokens of folders that were opened with their passwords, separated by commas.
pub(super) const UNLOCK_TOKEN: &str = "x-unlock-token";
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The viewer of a request.
pub(super) async fn viewer(gateway: &Gateway, headers: &HeaderMap, address: ClientAddress) -> Result<Viewer> {
    let viewer = match bearer(headers)? {
        Some(token) => gateway.services.viewer_of_token(&token).await?,
        None => Viewer::anonymous(),
    };
    let viewer = match secret(headers, SHARE_TOKEN)? {
        Some(token) => {
            let password = secret(headers, SHARE_PASSWORD)?;
            let share = gateway.services.hold_share(&viewer, &token, password.as_ref(), address).await?;
            let ended = "This share link does not exist, was revoked, has expired or is used up";
            viewer.holding(share.ok_or_else(|| Error::unauthenticated(ended))?)
        }
        None => viewer,
    };
    match secret(headers, UNLOCK_TOKEN)? {
        Some(tokens) => gateway.services.with_unlocks(viewer, &tokens).await,
        None => Ok(viewer),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<SecretString>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wanted = || Error::unauthenticated("Expected one header: Authorization: Bearer <token>");
    if values.next().is_some() {
        return Err(wanted());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wanted)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(wanted());
    }
    Ok(Some(SecretString::from(token.trim())))
}

fn secret(headers: &HeaderMap, name: &'static str) -> Result<Option<SecretString>> {
    match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(SecretString::from(text))),
        Some(Err(_)) => Err(Error::unauthenticated(format!("{name} holds characters that no header may hold"))),
    }
}

/// The address a request comes from. Forwarded addresses count as far as trusted proxies vouch for them: read from the
/// right, the first that is no trusted proxy is the client.
pub(super) fn client_address(gateway: &Gateway, headers: &HeaderMap, peer: SocketAddr) -> ClientAddress {
    let is_trusted = |address: IpAddr| gateway.http.trusted_proxies.iter().any(|network| network.contains(address));
    let mut client = peer.ip();
    let forwarded: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in forwarded.into_iter().rev() {
        if !is_trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address,
            Err(_) => break,
        }
    }
    client.into()
}
