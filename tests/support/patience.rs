//! Waiting for what comes true, for as long as a machine may need that has much else to do.

use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for anything. Where all is well, nothing takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
