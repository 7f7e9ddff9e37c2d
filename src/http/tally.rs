//! How much of something each address has at this moment. Whoever has nothing takes no room.
//!
//! How much an address may have is decided by who counts.

use std::collections::HashMap;

use crate::domain::ClientAddress;

/// What each address has.
#[derive(Default)]
pub(super) struct Tally(HashMap<ClientAddress, usize>);

impl Tally {
    /// What an address has.
    pub(super) fn of(&self, address: ClientAddress) -> usize {
        self.0.get(&address).copied().unwrap_or_default()
    }

    /// Notes that an address has so much now.
    pub(super) fn set(&mut self, address: ClientAddress, amount: usize) {
        if amount == 0 {
            self.0.remove(&address);
        } else {
            self.0.insert(address, amount);
        }
    }

    /// Notes that an address has one more.
    pub(super) fn add_one(&mut self, address: ClientAddress) {
        self.set(address, self.of(address).saturating_add(1));
    }

    /// Notes that an address has one less.
    pub(super) fn take_one(&mut self, address: ClientAddress) {
        self.set(address, self.of(address).saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn who_has_nothing_is_forgotten() {
        let [one, other] = [1, 2].map(|last| ClientAddress::from(IpAddr::from([192, 0, 2, last])));
        let mut tally = Tally::default();
        tally.add_one(one);
        tally.add_one(one);
        tally.set(other, 7);
        assert_eq!((tally.of(one), tally.of(other)), (2, 7));
        tally.take_one(one);
        tally.take_one(one);
        tally.set(other, 0);
        assert_eq!((tally.of(one), tally.0.len()), (0, 0));
    }
}
