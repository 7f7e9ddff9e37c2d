//! Where the local server listens, and how its two roles sign in: the superuser, who makes databases and nothing else, and the
//! role of the gateway, which owns what is in them.

use secrecy::{ExposeSecret, SecretString};

/// Name of the superuser.
pub(super) const ADMIN: &str = "ragboard";
/// Name of the role that the gateway works with. It owns the database and may do nothing outside it.
pub(super) const ROLE: &str = "ragboard_gateway";
/// Name of the database that every folder starts with.
pub(super) const DATABASE: &str = "ragboard";

/// The passwords of both roles.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub admin: SecretString,
    pub gateway: SecretString,
}

/// Address and credentials of a local server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    port: u16,
    credentials: Credentials,
}

impl Endpoint {
    pub(super) fn new(port: u16, credentials: Credentials) -> Self {
        Endpoint { port, credentials }
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn gateway_password(&self) -> &SecretString {
        &self.credentials.gateway
    }

    /// Connection string of a database of this server for the role of the gateway, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> SecretString {
        self.url_of(ROLE, &self.credentials.gateway, database)
    }

    /// The same for the superuser.
    #[must_use]
    pub fn admin_url(&self, database: &str) -> SecretString {
        self.url_of(ADMIN, &self.credentials.admin, database)
    }

    fn url_of(&self, role: &str, password: &SecretString, database: &str) -> SecretString {
        let database: String = database.bytes().map(encoded).collect();
        let (password, port) = (password.expose_secret(), self.port);
        format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}").into()
    }

    /// A connection of the gateway's role to `database`; it ends when the client is dropped.
    pub(super) async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        connect(&self.url(database)).await
    }

    /// The same for the superuser.
    pub(super) async fn connect_as_admin(
        &self,
        database: &str,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        connect(&self.admin_url(database)).await
    }
}

async fn connect(url: &SecretString) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url.expose_secret(), tokio_postgres::NoTls).await?;
    // Its errors reach the client's calls as well.
    tokio::spawn(connection);
    Ok(client)
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
        let credentials = Credentials { admin: "adm1n".into(), gateway: "s3cret".into() };
        let endpoint = Endpoint::new(5433, credentials);
        let url = endpoint.url("a b/ü");
        assert_eq!(url.expose_secret(), "postgresql://ragboard_gateway:s3cret@127.0.0.1:5433/a%20b%2F%C3%BC");
        assert_eq!(endpoint.admin_url("x").expose_secret(), "postgresql://ragboard:adm1n@127.0.0.1:5433/x");
        let printed = format!("{endpoint:?} {url:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("adm1n"));
    }
}
