//! Who follows over a socket or a stream of events: how many for an address, and how they are told to come back when the
//! server stops.
//!
//! What they follow, and whether they still may, is not known here.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::tally::Tally;
use crate::domain::{ClientAddress, Code, Error, Result};

/// All followers of this process.
pub struct Followers {
    /// Whether they are to leave. Every follower holds a receiver.
    stopping: watch::Sender<bool>,
    most_per_address: u32,
    per_address: Mutex<Tally>,
}

impl Followers {
    /// Nobody yet; at most so many from one address.
    #[must_use]
    pub fn new(most_per_address: u32) -> Arc<Self> {
        Arc::new(Followers { stopping: watch::Sender::new(false), most_per_address, per_address: Mutex::default() })
    }

    /// A place for one more.
    ///
    /// # Errors
    /// `RateLimited` when the address has all that it may have, `Overloaded` when the server stops.
    pub(super) fn join(self: &Arc<Self>, address: ClientAddress) -> Result<Place> {
        let stopping = self.stopping.subscribe();
        if *stopping.borrow() {
            return Err(restarting());
        }
        let mut per_address = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if per_address.of(address) >= self.most_per_address as usize {
            let message = format!("At most {} sockets and streams from one address", self.most_per_address);
            return Err(Error::new(Code::RateLimited, message));
        }
        per_address.add_one(address);
        Ok(Place { followers: Arc::clone(self), address, stopping })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stopping.receiver_count()
    }

    /// Tells all of them to come back, and waits until they have left.
    pub async fn dismiss(&self) {
        self.stopping.send_replace(true);
        self.stopping.closed().await;
    }
}

/// What a follower is told when the server stops.
pub(super) fn restarting() -> Error {
    Error::new(Code::Overloaded, "The server restarts: follow again, from the cursor of the last event")
}

/// The place of one follower; it is free again when this is dropped.
pub(super) struct Place {
    followers: Arc<Followers>,
    address: ClientAddress,
    stopping: watch::Receiver<bool>,
}

impl Place {
    /// Waits until the server stops.
    pub(super) async fn stopping(&mut self) {
        // Without a sender there is no server any more.
        let _ = self.stopping.wait_for(|stopping| *stopping).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followers.per_address.lock().unwrap_or_else(PoisonError::into_inner).take_one(self.address);
    }
}
