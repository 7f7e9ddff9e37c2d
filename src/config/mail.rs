//! How mails leave, and where the links in them lead.
//!
//! | key in `[mail]`   | variable                | default                                            |
//! |-------------------|-------------------------|----------------------------------------------------|
//! | `smtp_url`        | `RAGBOARD_SMTP_URL`     | none: printed in development, else no mail is sent |
//! | `from`            | `RAGBOARD_MAIL_FROM`    | none; needed beside `smtp_url`                     |
//! | `public_url`      | `RAGBOARD_PUBLIC_URL`   | `http://localhost:3000`                            |
//! | `timeout_seconds` | `RAGBOARD_SMTP_TIMEOUT` | 20                                                 |
//!
//! `smtps://USER:PASSWORD@HOST:PORT` is TLS from the start (port 465), `smtp://…?tls=required` TLS after STARTTLS (587), `smtp://`
//! without TLS (25). A path is the name that the program greets with: `smtps://HOST/gateway.example.org`. Preprod and production want
//! TLS, but for a server on the same machine, and links by https.

use std::{net::Ipv4Addr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{
    Environment,
    reader::Reader,
    values::{Form, Kind, Parsed, Seconds, quoted},
    web_address::WebAddress,
};

const SHAPE: &str = "give smtps://USER:PASSWORD@HOST:PORT or smtp://USER:PASSWORD@HOST:PORT?tls=required, with special \
    characters of the password percent-encoded";

/// How mails leave, and where the links in them lead.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The server that takes mails over; known to be an SMTP URL.
    pub smtp_url: Option<SecretString>,
    /// Whom mails come from, as mail writes it. There is one where there is `smtp_url`.
    pub from: Option<String>,
    /// Address of the frontend, http or https, without a slash at its end.
    pub public_url: String,
    /// How long sending one mail may take.
    pub timeout: Duration,
    /// Whether mails are printed where there is no `smtp_url`: in development only.
    pub is_printed: bool,
}

impl MailConfig {
    pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Self {
        let sender = Parsed::new("a sender such as RAGBOARD <no-reply@example.org>", |text| {
            let fits = text.len() <= 320 && text.contains('@') && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
        });
        let address = Parsed::new("an http or https URL without credentials, query and fragment", |text| {
            let fits = text.len() <= 1000 && !text.contains(['?', '#']) && !text.chars().any(char::is_whitespace);
            WebAddress::parse(text).filter(|_| fits).map(|_| text.trim_end_matches('/').to_owned())
        });
        let config = MailConfig {
            smtp_url: reader.optional("mail.smtp_url", &["RAGBOARD_SMTP_URL"], &SmtpUrlText),
            from: reader.optional("mail.from", &["RAGBOARD_MAIL_FROM"], &sender),
            public_url: reader.value(
                "mail.public_url",
                &["RAGBOARD_PUBLIC_URL"],
                &address,
                "http://localhost:3000".to_owned(),
            ),
            timeout: reader.value(
                "mail.timeout_seconds",
                &["RAGBOARD_SMTP_TIMEOUT"],
                &Seconds(1.0..=120.0),
                Duration::from_secs(20),
            ),
            is_printed: environment == Environment::Development,
        };
        if let Some(url) = &config.smtp_url {
            if config.from.is_none() {
                reader.problem("mail.from (RAGBOARD_MAIL_FROM)", "must be set beside mail.smtp_url");
            }
            if environment.is_guarded() && !is_protected(url.expose_secret()) {
                let message = format!("must be smtps, or have ?tls=required; {environment} sends no mail in the clear");
                reader.problem("mail.smtp_url (RAGBOARD_SMTP_URL)", message);
            }
            if environment.is_guarded() && !config.public_url.starts_with("https://") {
                let message = format!("must be the https address of the frontend in {environment}");
                reader.problem("mail.public_url (RAGBOARD_PUBLIC_URL)", message);
            }
        }
        config
    }
}

/// Whether what is said to the server stays between the two: by TLS, or because it is on this machine.
fn is_protected(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_here = match url.host() {
        // Schemes that are not of the web keep IPv4 addresses as names.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    is_here || url.scheme() == "smtps" || url.query().is_some()
}

/// The URL of an SMTP server. Messages never repeat it, because a password that is not percent-encoded may be anywhere in it.
struct SmtpUrlText;

fn parsed(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    let has_both = url.username().is_empty() == url.password().is_none();
    let knows_tls = matches!((url.scheme(), url.query()), ("smtps", None) | ("smtp", None | Some("tls=required")));
    let is_sound = text.len() <= 4096 && url.port() != Some(0) && url.fragment().is_none();
    (has_host && has_both && knows_tls && is_sound).then_some(url)
}

impl Kind for SmtpUrlText {
    type Value = SecretString;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        SHAPE.to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, String> {
        parsed(text).map(|_| text.to_owned().into()).ok_or_else(|| self.refuse(text))
    }

    fn show(&self, value: &SecretString) -> String {
        let Some(mut url) = parsed(value.expose_secret()) else { return quoted("***") };
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return quoted("***");
        }
        quoted(url.as_str())
    }

    fn refuse(&self, _: &str) -> String {
        format!("this value is not accepted, {}", self.accepts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_read_and_their_passwords_hidden() {
        for (text, shown, is_safe) in [
            ("smtps://ann:hunter2@mail.example.org", "\"smtps://ann:***@mail.example.org\"", true),
            (
                "smtp://ann:hunter2@mail.example.org:587/gateway?tls=required",
                "\"smtp://ann:***@mail.example.org:587/gateway?tls=required\"",
                true,
            ),
            ("smtp://mail.example.org:25", "\"smtp://mail.example.org:25\"", false),
            ("smtp://127.0.0.1:25", "\"smtp://127.0.0.1:25\"", true),
            ("smtp://127.example.org", "\"smtp://127.example.org\"", false),
            ("smtp://[::1]:25", "\"smtp://[::1]:25\"", true),
            ("smtp://localhost", "\"smtp://localhost\"", true),
        ] {
            let value = SmtpUrlText.parse(text).unwrap();
            assert_eq!(SmtpUrlText.show(&value), shown);
            assert_eq!(is_protected(value.expose_secret()), is_safe, "{text}");
            assert!(SmtpUrlText.parse(SmtpUrlText.show(&value).trim_matches('"')).is_ok(), "reads back");
        }
        for text in [
            "",
            "mail.example.org",
            "http://mail.example.org",
            "smtp://",
            "smtp://ann@mail.example.org",
            "smtp://ann:hunter2@mail.example.org?tls=opportunistic",
            "smtps://mail.example.org?tls=none",
            "smtp://mail.example.org:0",
            "smtp://ann:hunter2@mail.example.org#x",
        ] {
            let refused = SmtpUrlText.parse(text).unwrap_err();
            assert!(refused.starts_with("this value is not accepted, give smtps://") && !refused.contains("hunter2"));
        }
    }
}
