//! A bounded table of counts, for limits: it never holds more than [`MOST`] keys, and each step costs the same however full it
//! is.
//!
//! When it is full, a new key takes the place of another: of a few that are drawn, the one whose time is over, else the one
//! with the lowest count. So whoever comes under very many keys drives out keys that were seen once, as his own were, and not
//! those that have been counted often. What a count means is not decided here.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    time::Instant,
};

/// Keys that are remembered.
const MOST: usize = 100_000;
/// Keys that are compared when one has to go.
const DRAWN: u64 = 16;

/// What is kept of a key.
pub(super) trait Count {
    /// How much would be lost with it.
    fn weight(&self) -> u32;
    /// Whether it means nothing any more.
    fn is_over(&self, now: Instant) -> bool;
}

/// The table.
pub(super) struct Counters<K, V> {
    most: usize,
    places: HashMap<K, usize>,
    entries: Vec<(K, V)>,
    random: RandomState,
    drawn: u64,
}

impl<K, V> Default for Counters<K, V> {
    fn default() -> Self {
        Counters { most: MOST, places: HashMap::new(), entries: Vec::new(), random: RandomState::new(), drawn: 0 }
    }
}

impl<K: Eq + Hash + Clone, V: Count + Copy> Counters<K, V> {
    /// What is kept of a key; `fresh` when there is nothing, or what there was is over.
    pub(super) fn of(&mut self, key: K, now: Instant, fresh: V) -> &mut V {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                if self.entries.len() >= self.most {
                    self.make_room(now);
                }
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, fresh));
                self.entries.len() - 1
            }
        };
        #[allow(
            clippy::indexing_slicing,
            reason = "`places` names places of `entries` only: both change together, here"
        )]
        let value = &mut self.entries[place].1;
        if value.is_over(now) {
            *value = fresh;
        }
        value
    }

    /// What is kept of a key.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.take_out(place);
        }
    }

    fn make_room(&mut self, now: Instant) {
        let length = self.entries.len() as u64;
        let lightest = (0..DRAWN).filter_map(|_| {
            self.drawn = self.drawn.wrapping_add(1);
            let place = self.random.hash_one(self.drawn).checked_rem(length)? as usize;
            let value = self.entries.get(place)?.1;
            Some((!value.is_over(now), value.weight(), place))
        });
        if let Some((.., place)) = lightest.min() {
            if let Some((key, _)) = self.entries.get(place) {
                self.places.remove(key);
            }
            self.take_out(place);
        }
    }

    /// The last one moves to the place that becomes free.
    fn take_out(&mut self, place: usize) {
        self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(moved.clone(), place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Copy)]
    struct Seen {
        times: u32,
        since: Instant,
    }

    impl Count for Seen {
        fn weight(&self) -> u32 {
            self.times
        }

        fn is_over(&self, now: Instant) -> bool {
            now.duration_since(self.since) >= Duration::from_secs(60)
        }
    }

    fn see(counters: &mut Counters<u32, Seen>, key: u32, now: Instant) -> u32 {
        let seen = counters.of(key, now, Seen { times: 0, since: now });
        seen.times += 1;
        seen.times
    }

    #[test]
    fn a_flood_of_keys_drives_out_none_that_was_counted_often() {
        let (mut counters, now) = (Counters { most: 1_000, ..Counters::default() }, Instant::now());
        for key in 0..20 {
            (0..50).for_each(|_| _ = see(&mut counters, key, now));
        }
        for key in 100..100_000 {
            see(&mut counters, key, now);
        }
        assert_eq!((counters.entries.len(), counters.places.len()), (1_000, 1_000));
        for key in 0..20 {
            assert_eq!(see(&mut counters, key, now), 51, "{key}");
        }
    }

    #[test]
    fn what_is_over_goes_first_and_begins_anew() {
        let (mut counters, now) = (Counters { most: 16, ..Counters::default() }, Instant::now());
        (0..50).for_each(|_| _ = see(&mut counters, 1, now));
        let later = now + Duration::from_secs(60);
        assert_eq!(see(&mut counters, 1, later), 1);
        for key in 2..1_000 {
            see(&mut counters, key, later);
        }
        let last = later + Duration::from_secs(60);
        (0..16).for_each(|key| _ = see(&mut counters, 2_000 + key, last));
        assert_eq!(counters.entries.len(), 16);
    }

    #[test]
    fn keys_that_go_leave_the_others_where_they_are_found() {
        let (mut counters, now) = (Counters::default(), Instant::now());
        for key in 0..100 {
            (0..=key).for_each(|_| _ = see(&mut counters, key, now));
        }
        (0..100).step_by(3).for_each(|key| counters.remove(&key));
        for key in 0..100 {
            assert_eq!(counters.get_mut(&key).map(|seen| seen.times), (key % 3 != 0).then_some(key + 1));
        }
    }
}
