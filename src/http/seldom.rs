//! Lines of the log that strangers could cause very often: one a minute. A line for each would be an attack on the log.

use std::time::{Duration, Instant};

/// Time between two lines about the same trouble.
const EVERY: Duration = Duration::from_secs(60);

/// When a trouble was told last.
#[derive(Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// It was not told yet.
    pub(super) const fn new() -> Self {
        Seldom(None)
    }

    /// Whether it is to be told now.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|told| told.elapsed() >= EVERY);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_is_due() {
        let mut seldom = Seldom::new();
        assert_eq!([(); 3].map(|()| seldom.is_due()), [true, false, false]);
        seldom.0 = seldom.0.and_then(|told| told.checked_sub(EVERY));
        assert_eq!([(); 2].map(|()| seldom.is_due()), [true, false]);
    }
}
