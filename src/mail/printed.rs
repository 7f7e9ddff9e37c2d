//! Mails on the terminal of a developer, who has no server for them. They hold tokens, so nothing else prints them.

use std::{
    io::{Write, stderr},
    time::Duration,
};

use async_trait::async_trait;
use secrecy::ExposeSecret;

use crate::domain::{Error, Mail, Mailer, Result};

/// Prints mails to stderr.
pub struct Printed;

#[async_trait]
impl Mailer for Printed {
    async fn send(&self, mail: &Mail) -> Result<()> {
        let text = mail.text.expose_secret().replace('\n', "\n    ");
        let printed = format!("\n  mail to {}: {}\n\n    {}\n\n", mail.to, mail.subject, text.trim_end());
        stderr().write_all(printed.as_bytes()).map_err(Error::internal)
    }

    fn longest(&self) -> Duration {
        Duration::from_secs(1)
    }
}
