//! What a person sees while something takes a while: bars on a terminal, nothing elsewhere. The report comes at the end.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shown on stderr when that is a terminal and it is wanted.
    pub(super) fn new(is_wanted: bool) -> Progress {
        Progress { is_shown: is_wanted && std::io::stderr().is_terminal() }
    }

    /// For a step of unknown length.
    pub(super) fn spinner(&self, message: &'static str) -> Bar {
        let bar = self.begin(ProgressBar::no_length(), message, "{spinner} {msg} {pos} ({elapsed})");
        if self.is_shown {
            bar.0.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    /// For a step of so many files, texts or percents.
    pub(super) fn count(&self, message: &'static str, count: usize) -> Bar {
        self.begin(ProgressBar::new(count as u64), message, "{spinner} {msg} [{bar:30}] {pos}/{len} ({elapsed})")
    }

    fn begin(&self, bar: ProgressBar, message: &'static str, template: &str) -> Bar {
        let target = if self.is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        bar.set_draw_target(target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(message);
        Bar(bar)
    }
}

/// A bar of one step; it goes away with the step, however that ends.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn at(&self, position: usize) {
        self.0.set_position(position as u64);
    }

    pub(super) fn of(&self, count: usize) {
        self.0.set_length(count as u64);
    }

    pub(super) fn says(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
