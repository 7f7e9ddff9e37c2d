//! What is wrong with a database that an operator names, and what to do about it: said at start, before anything is written.

use secrecy::SecretString;

use super::Failure;
use crate::store::surroundings;

const ANOTHER: &str = "Make another database and copy the data with pg_dump and pg_restore: CREATE DATABASE … TEMPLATE template0 \
    ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C' (before PostgreSQL 17: ENCODING 'UTF8' LOCALE 'C.UTF-8').";

/// Refuses a database that cannot hold all texts, and warns of what works worse than it could.
///
/// # Errors
/// Its encoding is not UTF8, or it cannot be reached.
pub(super) async fn check(url: &SecretString) -> Result<(), Failure> {
    let found = surroundings(url).await?;
    if found.encoding != "UTF8" {
        let message =
            format!("The database is encoded in {}, which cannot hold every text; it has to be UTF8", found.encoding);
        return Err(Failure::new(message).hint(ANOTHER));
    }
    if !found.knows_letters {
        tracing::warn!(
            ctype = found.ctype,
            "The database's locale {} knows no letters beyond ASCII: searches miss words such as Übersicht, and names are sorted \
             and compared wrongly. {ANOTHER}",
            found.ctype
        );
    }
    if found.is_superuser {
        tracing::warn!(
            "The role of DATABASE_URL is a superuser of the database server and may do more than this program needs. \
             Give it a role that only owns its database: CREATE ROLE … LOGIN; ALTER DATABASE … OWNER TO …"
        );
    }
    Ok(())
}
