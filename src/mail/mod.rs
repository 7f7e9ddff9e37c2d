//! The way out for mails: by SMTP (`smtp.rs`), or, on a developer's machine, printed (`printed.rs`).
//!
//! What mails say, when they are sent and how often it is tried is `service/mailing.rs`.

mod printed;
mod smtp;

use std::sync::Arc;

use crate::{
    config::MailConfig,
    domain::{Mailer, Result},
};

pub use self::{printed::Printed, smtp::Smtp};

/// The way out that the settings name; `None` where there is none.
///
/// # Errors
/// `Internal`, with the cause for the operator, when the sender or the server cannot be used as they are written.
pub fn mailer(config: &MailConfig) -> Result<Option<Arc<dyn Mailer>>> {
    let mailer: Option<Arc<dyn Mailer>> = match (&config.smtp_url, &config.from) {
        (Some(url), Some(from)) => Some(Arc::new(Smtp::new(url, from, config.timeout)?)),
        _ if config.is_printed => Some(Arc::new(Printed)),
        _ => None,
    };
    Ok(mailer)
}
