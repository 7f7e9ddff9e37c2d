//! What a `DATABASE_URL` may say, and how it is taken apart for the driver.
//!
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=/path/ca.pem`; `postgresql://` and SQLAlchemy's
//! `postgresql+asyncpg://` (with its `ssl=`) mean the same. TLS is configured here and not by the driver, which knows neither
//! `verify-ca` nor `verify-full`. Settings of the pool do not belong into the URL. Messages never repeat the URL.

use std::{path::PathBuf, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::Host;

use super::values::{Form, Kind, quoted};

const SCHEMES: [&str; 4] = ["postgres", "postgresql", "postgresql+asyncpg", "postgres+asyncpg"];
const DRIVER_PARAMETERS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
const POOL_PARAMETERS: [(&str, &str); 5] = [
    ("pool_size", "DATABASE_POOL_SIZE"),
    ("max_overflow", "DATABASE_MAX_OVERFLOW"),
    ("pool_timeout", "DATABASE_POOL_TIMEOUT"),
    ("pool_recycle", "DATABASE_POOL_RECYCLE"),
    ("statement_timeout", "DATABASE_STATEMENT_TIMEOUT"),
];
const SHAPE: &str =
    "give postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded";

/// How much TLS a connection must have, in the words of libpq and in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server offers it; whoever sits in between can take it away.
    Prefer,
    /// Always, with whatever certificate the server shows (with `sslrootcert`: as `VerifyCa`).
    Require,
    /// Always, and the certificate must come from a trusted authority.
    VerifyCa,
    /// Always, and the certificate must be this host's.
    VerifyFull,
}

impl SslMode {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "disable" => Some(SslMode::Disable),
            "prefer" => Some(SslMode::Prefer),
            "require" => Some(SslMode::Require),
            "verify-ca" => Some(SslMode::VerifyCa),
            "verify-full" => Some(SslMode::VerifyFull),
            _ => None,
        }
    }
}

/// A database URL taken apart: what the driver reads, and what TLS needs.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    /// The URL without the parameters of TLS, as the driver reads it.
    pub connection: SecretString,
    /// `sslmode`; `prefer` if the URL does not say, as libpq does.
    pub ssl_mode: SslMode,
    /// `sslrootcert`: a PEM file of trusted authorities. `None` means those of the machine (also written `system`).
    pub root_certificates: Option<PathBuf>,
    /// `sslcert` and `sslkey`: PEM files of the client's own certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl DatabaseUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// A message that says what is accepted. It repeats names of parameters, nothing else of the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(SHAPE)?;
        if !SCHEMES.contains(&scheme) {
            return Err(SHAPE.to_owned());
        }
        // As the driver does it: credentials reach to the first @, and only behind them is a ? the start of parameters.
        let credentials = rest.find('@').map_or(0, |at| at + 1);
        let (head, parameters) = match rest.get(credentials..).and_then(|tail| tail.find('?')) {
            Some(at) => {
                (rest.get(..credentials + at).ok_or(SHAPE)?, rest.get(credentials + at + 1..).unwrap_or_default())
            }
            None => (rest, ""),
        };
        let mut kept = Vec::new();
        let (mut ssl_mode, mut root, mut certificate, mut key) = (SslMode::Prefer, None, None, None);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(SHAPE)?;
            if let Some((_, variable)) = POOL_PARAMETERS.iter().find(|(pool, _)| *pool == name) {
                return Err(format!("{name} does not belong into the URL, set {variable}"));
            }
            match name {
                "sslmode" | "ssl" => {
                    let accepted = "must be one of disable, prefer, require, verify-ca, verify-full";
                    ssl_mode = SslMode::parse(value).ok_or_else(|| format!("{name} {accepted}"))?;
                }
                "sslrootcert" => root = Some(path(value)?).filter(|path| path.as_os_str() != "system"),
                "sslcert" => certificate = Some(path(value)?),
                "sslkey" => key = Some(path(value)?),
                _ if DRIVER_PARAMETERS.contains(&name) => kept.push(parameter),
                _ if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                    return Err(format!("the parameter {name} is not known; {SHAPE}"));
                }
                _ => return Err(SHAPE.to_owned()),
            }
        }
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("sslcert and sslkey belong together".to_owned()),
        };
        let separator = if kept.is_empty() { "" } else { "?" };
        let connection = format!("postgres://{head}{separator}{}", kept.join("&"));
        let driver = tokio_postgres::Config::from_str(&connection).map_err(|_| SHAPE)?;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(format!("the host is missing; {SHAPE}"));
        }
        Ok(DatabaseUrl { connection: connection.into(), ssl_mode, root_certificates: root, client_certificate })
    }

    /// The URL without its password, for printing. Built from its parts, so that nothing can slip through.
    #[must_use]
    pub fn redacted(&self) -> String {
        let Ok(driver) = tokio_postgres::Config::from_str(self.connection.expose_secret()) else {
            return "***".to_owned();
        };
        let hosts: Vec<_> = driver
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| {
                let host = match host {
                    Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
                    Host::Tcp(name) => name.clone(),
                    Host::Unix(path) => path.to_string_lossy().replace('/', "%2F"),
                };
                let port = driver.get_ports().get(at).or(driver.get_ports().first());
                port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
            })
            .collect();
        let user = driver.get_user().unwrap_or_default();
        let password = if driver.get_password().is_some() { ":***" } else { "" };
        let at = if user.is_empty() { "" } else { "@" };
        let mode = match self.ssl_mode {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        };
        let database = driver.get_dbname().unwrap_or_default();
        format!("postgres://{user}{password}{at}{}/{database}?sslmode={mode}", hosts.join(","))
    }
}

/// A file name with its percent-encoding undone.
fn path(text: &str) -> Result<PathBuf, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
            let digits = std::str::from_utf8(&digits).map_err(|_| SHAPE)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| SHAPE)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map(PathBuf::from).map_err(|_| SHAPE.to_owned())
}

/// The setting: checked when it is read, kept as the secret text it is, printed without its password.
pub(super) struct DatabaseUrlText;

impl Kind for DatabaseUrlText {
    type Value = SecretString;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        SHAPE.to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, String> {
        DatabaseUrl::parse(text).map(|_| text.to_owned().into())
    }

    fn show(&self, value: &SecretString) -> String {
        quoted(&DatabaseUrl::parse(value.expose_secret()).map_or_else(|_| "***".to_owned(), |url| url.redacted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reaches_the_driver_in_its_own() {
        for scheme in SCHEMES {
            let url = DatabaseUrl::parse(&format!("{scheme}://u:p@h:5433/d?connect_timeout=3")).unwrap();
            assert_eq!(url.connection.expose_secret(), "postgres://u:p@h:5433/d?connect_timeout=3");
            assert_eq!(url.ssl_mode, SslMode::Prefer);
        }
        assert_eq!(DatabaseUrl::parse("postgresql+asyncpg://u@h/d?ssl=require").unwrap().ssl_mode, SslMode::Require);
    }

    #[test]
    fn tls_is_taken_out() {
        let text =
            "postgres://u@h/d?sslmode=verify-ca&sslrootcert=/etc/my%20ca.pem&sslcert=/c&sslkey=/k&options=-cx%3D1";
        let url = DatabaseUrl::parse(text).unwrap();
        assert_eq!(url.connection.expose_secret(), "postgres://u@h/d?options=-cx%3D1");
        assert_eq!(url.ssl_mode, SslMode::VerifyCa);
        assert_eq!(url.root_certificates, Some("/etc/my ca.pem".into()));
        assert_eq!(url.client_certificate, Some(("/c".into(), "/k".into())));
        assert_eq!(DatabaseUrl::parse("postgres://h/d?sslrootcert=system").unwrap().root_certificates, None);
    }

    #[test]
    fn pool_settings_are_sent_to_their_variable() {
        for (parameter, variable) in POOL_PARAMETERS {
            let message = DatabaseUrl::parse(&format!("postgres://u:p@h/d?{parameter}=5")).unwrap_err();
            assert!(message.contains(parameter) && message.contains(variable), "{message}");
        }
    }

    #[test]
    fn bad_urls_are_refused_without_being_repeated() {
        let bad = [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres://u:hunter2@h/d?sslmode=allow",
            "postgres://u:hunter2@h/d?nosuch=1",
            "postgres://u:hunter2@h/d?sslcert=/only",
            "postgres://u:hunter2@h/d?hunter2",
            "postgres://u:a?hunter2=1",
            "postgres://u:hunter2@h/d?sslrootcert=%zz",
        ];
        for url in bad {
            let message = DatabaseUrl::parse(url).unwrap_err();
            assert!(!message.contains("hunter2"), "{url}: {message}");
        }
    }

    #[test]
    fn printing_hides_the_password_wherever_it_stands() {
        let cases = [
            ("postgres://u:hunter2@h:5433/d", "postgres://u:***@h:5433/d?sslmode=prefer"),
            ("postgres://u:hunter2/x@h/d?sslmode=require", "postgres://u:***@h:5432/d?sslmode=require"),
            ("postgres://u@h,i:6000/d?password=hunter2", "postgres://u:***@h:5432,i:6000/d?sslmode=prefer"),
            ("postgres:///d?host=/run/pg&user=u&password=hunter2", "postgres://u:***@%2Frun%2Fpg/d?sslmode=prefer"),
            ("postgres://u:hunter2@[::1]:5433/d", "postgres://u:***@[::1]:5433/d?sslmode=prefer"),
        ];
        for (url, printed) in cases {
            let url = DatabaseUrl::parse(url).unwrap();
            assert_eq!(url.redacted(), printed);
            assert!(!format!("{url:?}").contains("hunter2"));
        }
    }
}
