//! What a person sees while something is fetched: bars on a terminal, one plain line per step elsewhere.
//!
//! Everything goes to stderr; stdout belongs to results.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A spinner with the elapsed time, for steps whose length is unknown.
pub(super) fn spinner(message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let bar = begin(ProgressBar::no_length(), message, style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A bar that counts `total_bytes`.
pub(super) fn bytes(message: &str, total_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {bytes}/{total_bytes}");
    begin(ProgressBar::new(total_bytes), message, style)
}

/// A line that stays.
pub(super) fn line(message: &str) {
    // A closed stderr is no reason to stop fetching.
    let _ = writeln!(std::io::stderr(), "{message}");
}

fn begin<E>(bar: ProgressBar, message: &str, style: Result<ProgressStyle, E>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        line(message);
        bar.set_draw_target(ProgressDrawTarget::hidden());
        return bar;
    }
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}
