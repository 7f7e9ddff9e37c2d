//! Where the local server listens and how its superuser signs in.

use secrecy::{ExposeSecret, SecretString};

use crate::ops::Failure;

/// Name of the superuser, and of the database that every folder starts with.
pub(super) const NAME: &str = "ragboard";

/// Address and credentials of a local server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    port: u16,
    password: SecretString,
}

impl Endpoint {
    pub(super) fn new(port: u16, password: SecretString) -> Self {
        Endpoint { port, password }
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connection string of a database of this server, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> SecretString {
        let database: String = database.bytes().map(encoded).collect();
        let (password, port) = (self.password.expose_secret(), self.port);
        format!("postgresql://{NAME}:{password}@127.0.0.1:{port}/{database}").into()
    }

    /// A connection of the program's own to `database`; it ends when the client is dropped.
    pub(super) async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let url = self.url(database);
        let (client, connection) = tokio_postgres::connect(url.expose_secret(), tokio_postgres::NoTls).await?;
        // Its errors reach the client's calls as well.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Creates the database `ragboard` unless it exists.
    pub(super) async fn ensure_database(&self) -> Result<(), Failure> {
        let failed = || Failure::while_doing("creating the database");
        let client = self.connect("postgres").await.map_err(failed())?;
        let known = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&NAME]).await.map_err(failed())?;
        if known.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {NAME}")).await.map_err(failed())?;
        }
        Ok(())
    }
}

/// One byte of a name inside a URL.
fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_names_are_encoded_and_the_password_is_never_printed() {
        let endpoint = Endpoint::new(5433, "s3cret".into());
        let url = endpoint.url("a b/ü");
        assert_eq!(url.expose_secret(), "postgresql://ragboard:s3cret@127.0.0.1:5433/a%20b%2F%C3%BC");
        assert!(!format!("{endpoint:?} {url:?}").contains("s3cret"));
    }
}
