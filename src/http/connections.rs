//! How many connections there may be, in total, from one address and from one site, and the place that each has.
//!
//! How long a connection may be quiet is `connection.rs`; requests are not counted here.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{connection::Activity, forwarded, seldom::Seldom, tally::Tally};
use crate::{
    config::{HttpConfig, LimitsConfig, Network},
    domain::ClientAddress,
};

/// Descriptors that are for files, logs and outgoing connections, beside those of the database.
const KEPT_DESCRIPTORS: u64 = 100;
/// However few descriptors there are, so many connections are tried.
const FEWEST: u32 = 16;
/// All networks of one site have the connections of so many addresses together. A customer of a provider may have a
/// /48, which holds 65,536 networks of the size that counts as an address.
const ADDRESSES_OF_SITE: usize = 8;

/// The connections of this process.
pub struct Connections {
    most: u32,
    most_per_address: usize,
    most_per_site: usize,
    /// Their connections are those of many clients, so only the total counts for them.
    proxies: Vec<Network>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    open: u32,
    per_address: Tally,
    per_site: Tally,
    refused: u64,
    /// When refusals were told last, and how many there had been by then.
    told: Seldom,
    told_refused: u64,
}

/// The /48 network of an IPv6 address.
fn site_of(peer: IpAddr) -> Option<ClientAddress> {
    match peer.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 48));
            Some(IpAddr::from(network).into())
        }
    }
}

impl Connections {
    /// None yet. `kept` descriptors of those that the process may have are for others, such as the database.
    ///
    /// One address, or one site, has at most half of all places, so that nobody can take the last one alone.
    #[must_use]
    pub fn new(http: &HttpConfig, limits: &LimitsConfig, kept: u32) -> Arc<Self> {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = descriptors.saturating_sub(KEPT_DESCRIPTORS + u64::from(kept));
        let most =
            limits.max_connections.min(u32::try_from(room).unwrap_or(u32::MAX)).max(FEWEST.min(limits.max_connections));
        if most < limits.max_connections {
            tracing::info!(
                most,
                descriptors,
                "At most {most} connections, because the process may open {descriptors} descriptors"
            );
        }
        let half = (most / 2).max(1) as usize;
        let most_per_address = half.min(limits.max_connections_per_address as usize);
        Arc::new(Connections {
            most,
            most_per_address,
            most_per_site: half.min(most_per_address.saturating_mul(ADDRESSES_OF_SITE)),
            proxies: http.trusted_proxies.clone(),
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.counts().open
    }

    /// How many were refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts().refused
    }

    /// A place for one more, or `None` when the address or everybody together has all that there are.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let is_proxy = forwarded::is_trusted(&self.proxies, peer);
        let address = (!is_proxy).then(|| ClientAddress::from(peer));
        let site = site_of(peer).filter(|_| !is_proxy);
        let mut counts = self.counts();
        let is_full = counts.open >= self.most
            || address.is_some_and(|address| counts.per_address.of(address) >= self.most_per_address)
            || site.is_some_and(|site| counts.per_site.of(site) >= self.most_per_site);
        if is_full {
            self.refuse(&mut counts, peer);
            return None;
        }
        counts.open += 1;
        if let Some(address) = address {
            counts.per_address.add_one(address);
        }
        if let Some(site) = site {
            counts.per_site.add_one(site);
        }
        Some(Place { connections: Arc::clone(self), address, site })
    }

    /// Counts a refusal, and says so now and then.
    fn refuse(&self, counts: &mut Counts, peer: IpAddr) {
        counts.refused += 1;
        if counts.told.is_due() {
            let since = counts.refused - counts.told_refused;
            counts.told_refused = counts.refused;
            tracing::warn!(
                refused = since,
                open = counts.open,
                "Refused {since} connections, the last from {peer}: at most {} of an address, {} of a /48, {} in total",
                self.most_per_address,
                self.most_per_site,
                self.most
            );
        }
    }
}

/// The place of one connection; it is free again when this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    /// Neither is there for a proxy.
    address: Option<ClientAddress>,
    site: Option<ClientAddress>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.open -= 1;
        if let Some(address) = self.address {
            counts.per_address.take_one(address);
        }
        if let Some(site) = self.site {
            counts.per_site.take_one(site);
        }
    }
}

/// The stream of a connection, which holds its place: also of one that became a socket.
pub(super) struct Placed {
    stream: TcpStream,
    activity: Arc<Activity>,
    _place: Place,
}

impl Placed {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, place: Place) -> Self {
        Placed { stream, activity, _place: place }
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.heard();
        }
        polled
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn connections(variables: &[(&str, &str)]) -> Arc<Connections> {
        let config = Config::load(&Sources::from_variables(variables.iter().copied())).unwrap();
        Connections::new(&config.http, &config.limits, 0)
    }

    fn enter(connections: &Arc<Connections>, peer: &str) -> Option<Place> {
        connections.enter(peer.parse().unwrap())
    }

    #[test]
    fn a_proxy_is_known_by_its_ipv4_address_on_a_socket_of_ipv6() {
        let connections =
            connections(&[("RAGBOARD_TRUSTED_PROXIES", "10.0.0.1"), ("RAGBOARD_MAX_CONNECTIONS_PER_ADDRESS", "1")]);
        let of_proxy = ["::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"].map(|peer| enter(&connections, peer));
        assert!(of_proxy.iter().all(Option::is_some));
        let _client = enter(&connections, "::ffff:192.0.2.1").unwrap();
        assert!(enter(&connections, "192.0.2.1").is_none());
    }

    #[test]
    fn networks_of_one_site_have_the_connections_of_eight() {
        let connections = connections(&[("RAGBOARD_MAX_CONNECTIONS_PER_ADDRESS", "1")]);
        let mut places: Vec<Place> =
            (0..8).map(|network| enter(&connections, &format!("2001:db8:1:{network}::1")).unwrap()).collect();
        assert!(enter(&connections, "2001:db8:1:ffff::1").is_none());
        assert!(enter(&connections, "2001:db8:2::1").is_some() && enter(&connections, "192.0.2.1").is_some());
        places.pop();
        places.push(enter(&connections, "2001:db8:1:ffff::1").unwrap());
        assert_eq!((connections.open(), connections.refused()), (8, 1));
    }
}
