//! Mails by SMTP. Each is a connection of its own: there are few, and a server that was restarted is none the worse for it.

use std::time::Duration;

use async_trait::async_trait;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    address::AddressError,
    message::{
        Body, Mailbox,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::domain::{Code, Error, Mail, Mailer, Result};

/// Bytes of a line, by RFC 5322.
const MAX_LINE_BYTES: usize = 998;

/// Sends mails by SMTP.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

fn unusable(what: &str, cause: impl std::fmt::Display) -> Error {
    Error::caused(Code::Internal, format!("{what} cannot be used"), cause.to_string())
}

impl Smtp {
    /// For the server at `url`, in the name of `from`; a mail takes at most `timeout`. Nothing is connected yet.
    ///
    /// # Errors
    /// `Internal`, with the cause for the operator, when one of the two cannot be used as it is written.
    pub fn new(url: &SecretString, from: &str, timeout: Duration) -> Result<Self> {
        let from = from.parse::<Mailbox>().map_err(|cause| unusable("mail.from (RAGBOARD_MAIL_FROM)", cause))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
            .map_err(|cause| unusable("mail.smtp_url (RAGBOARD_SMTP_URL)", cause))?;
        Ok(Smtp { transport: transport.timeout(Some(timeout)).build(), from, timeout })
    }

    fn message(&self, mail: &Mail) -> Result<Message> {
        let no_address = |cause: AddressError| Error::caused(Code::InvalidArgument, "The address takes no mail", cause);
        let to: Address = mail.to.parse().map_err(no_address)?;
        let id = format!("<{}@{}>", Uuid::new_v4(), self.from.email.domain());
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .message_id(Some(id))
            // So that no assistant of the holder answers it.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        let text = mail.text.expose_secret().to_owned();
        // Links stay whole also for who reads the mail as it is: plain text with lines of fewer than 998 bytes needs no encoding.
        if text.is_ascii() && text.lines().all(|line| line.len() < MAX_LINE_BYTES) {
            let text = text.lines().collect::<Vec<_>>().join("\r\n").into_bytes();
            let body = Body::dangerous_pre_encoded(text, ContentTransferEncoding::SevenBit);
            return message.body(body).map_err(Error::internal);
        }
        message.body(text).map_err(Error::internal)
    }
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, mail: &Mail) -> Result<()> {
        let message = self.message(mail)?;
        // The transport's own time-out is for each command.
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(Error::caused(Code::Overloaded, "The mail server did not take the mail", cause)),
            Err(_) => Err(Error::new(Code::Timeout, "The mail server did not take the mail in time")),
        }
    }

    fn longest(&self) -> Duration {
        self.timeout
    }
}
