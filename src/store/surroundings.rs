//! What the database around the tables is like: how it writes letters, which of them it takes for the same, and what the role of the
//! program may do. Asked once, at start; what follows from it is decided by who asks.

use secrecy::SecretString;
use tokio_postgres::Client;

use super::tls::Connector;
use crate::domain::{Code, Error, Result};

/// What a database is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// The locale that says what a letter is.
    pub ctype: String,
    /// Whether letters beyond ASCII are letters: Ä and ä are the same one, and a quotation mark is none.
    pub knows_letters: bool,
    /// Whether the role may do everything on the server.
    pub is_superuser: bool,
}

/// The letters that are tried, escaped, so that the question can be asked of any database in UTF8. A word in quotation marks is
/// looked for as well: a locale that takes their bytes for letters does not find it.
const KNOWS_LETTERS: &str = r"SELECT lower(U&'\00C4') = U&'\00E4' AND U&'\00E4' ~ '^\w$'
    AND to_tsvector('simple', U&'\201Chello\201D') @@ to_tsquery('simple', 'hello')";

/// Looks at the database of `url`.
///
/// # Errors
/// `Overloaded` if it cannot be reached.
pub async fn surroundings(url: &SecretString) -> Result<Surroundings> {
    let (client, connection) = Connector::new(url, "ragboard start", None)?.connect().await?;
    // Its errors reach the client's calls as well.
    let connection = tokio::spawn(connection);
    let found = look(&client).await;
    connection.abort();
    found.map_err(|error| Error::caused(Code::Overloaded, "The database cannot be looked at", error))
}

async fn look(client: &Client) -> std::result::Result<Surroundings, tokio_postgres::Error> {
    let question = "SELECT current_setting('server_encoding'), datctype::text, current_setting('is_superuser') = 'on' \
        FROM pg_database WHERE datname = current_database()";
    let row = client.query_one(question, &[]).await?;
    let (encoding, ctype, is_superuser): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let knows_letters = encoding == "UTF8" && client.query_one(KNOWS_LETTERS, &[]).await?.try_get(0)?;
    Ok(Surroundings { encoding, ctype, knows_letters, is_superuser })
}
