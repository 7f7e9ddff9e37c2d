//! How many connections there may be, in total and from one address, and the place that each of them has.
//!
//! How long a connection may be quiet is `connection.rs`; requests are not counted here.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::connection::Activity;
use crate::{
    config::{HttpConfig, LimitsConfig, Network},
    domain::ClientAddress,
};

/// Descriptors that are for files, logs and outgoing connections, beside those of the database.
const KEPT_DESCRIPTORS: u64 = 100;
/// However few descriptors there are, so many connections are tried.
const FEWEST: u32 = 16;
/// Time between two lines in the log about the same trouble.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The connections of this process.
pub struct Connections {
    most: u32,
    most_per_address: u32,
    /// Their connections are those of many clients, so only the total counts for them.
    proxies: Vec<Network>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    open: u32,
    per_address: HashMap<ClientAddress, u32>,
    refused: u64,
    told: Option<(Instant, u64)>,
}

impl Connections {
    /// None yet. `kept` descriptors of those that the process may have are for others, such as the database.
    ///
    /// One address has at most half of all places, so that nobody can take the last one alone.
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
        Arc::new(Connections {
            most,
            most_per_address: limits.max_connections_per_address.min((most / 2).max(1)),
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
        let address = (!self.proxies.iter().any(|proxy| proxy.contains(peer))).then(|| ClientAddress::from(peer));
        let mut counts = self.counts();
        let of_address = address.and_then(|address| counts.per_address.get(&address)).copied().unwrap_or_default();
        if counts.open >= self.most || of_address >= self.most_per_address {
            self.refuse(&mut counts, peer);
            return None;
        }
        counts.open += 1;
        if let Some(address) = address {
            counts.per_address.insert(address, of_address + 1);
        }
        Some(Place { connections: Arc::clone(self), address })
    }

    /// Counts a refusal, and says so now and then: a line for each would be an attack on the log.
    fn refuse(&self, counts: &mut Counts, peer: IpAddr) {
        counts.refused += 1;
        let (told, before) = counts.told.unzip();
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let since = counts.refused - before.unwrap_or_default();
            counts.told = Some((Instant::now(), counts.refused));
            tracing::warn!(
                refused = since,
                open = counts.open,
                "Refused {since} connections, the last from {peer}: at most {} from one address and {} in total",
                self.most_per_address,
                self.most
            );
        }
    }
}

/// The place of one connection; it is free again when this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    address: Option<ClientAddress>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.open -= 1;
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut count) = counts.per_address.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
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
