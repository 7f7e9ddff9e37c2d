//! Connections that cannot be opened: those who wait for one are told at once, and the log gets one line at the beginning of
//! an outage, one a minute while it lasts, and one at its end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel_async::pooled_connection::PoolError;
use tokio::sync::watch;

use super::error;
use crate::domain::Error;

/// An outage is over when connections could be opened for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two lines of the log about one outage.
const EVERY: Duration = Duration::from_secs(60);

/// Tells those who wait for a connection that one could not be opened, and why.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    last: watch::Sender<Option<Error>>,
    outage: Arc<Mutex<Option<Outage>>>,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    began: Instant,
    failures: u64,
    last_failure: Instant,
    last_line: Instant,
}

impl Failures {
    pub(super) fn new() -> Self {
        Failures { last: watch::Sender::new(None), outage: Arc::default() }
    }

    /// Hears of what fails from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Error>> {
        self.last.subscribe()
    }

    /// Notes that a connection was to be had.
    pub(super) fn has_one(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = outage.take_if(|outage| outage.last_failure.elapsed() >= QUIET) {
            let lasted_s = ended.began.elapsed().as_secs_f64();
            tracing::warn!(failures = ended.failures, lasted_s, "Database connections can be opened again");
        }
    }

    /// Notes a failure; says whether the log is to have a line, and with how many failures.
    fn note(&self, now: Instant) -> Option<u64> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = outage.is_none();
        let outage = outage.get_or_insert(Outage { began: now, failures: 0, last_failure: now, last_line: now });
        outage.failures += 1;
        outage.last_failure = now;
        let is_due = is_new || now.duration_since(outage.last_line) >= EVERY;
        if is_due {
            outage.last_line = now;
        }
        is_due.then_some(outage.failures)
    }
}

impl bb8::ErrorSink<PoolError> for Failures {
    fn sink(&self, cause: PoolError) {
        if let Some(failures) = self.note(Instant::now()) {
            tracing::warn!(%cause, failures, "Could not open a database connection");
        }
        self.last.send_replace(Some(error::from_pool(bb8::RunError::User(cause))));
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_one_line_a_minute() {
        let (failures, began) = (Failures::new(), Instant::now());
        let lines = (0..600).filter_map(|tenth| failures.note(began + Duration::from_millis(tenth * 200)));
        assert_eq!(lines.collect::<Vec<_>>(), [1, 301]);
        failures.has_one();
        assert!(failures.outage.lock().unwrap().is_some());
    }
}
