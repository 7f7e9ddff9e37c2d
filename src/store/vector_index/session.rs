//! Building and dropping indexes over the vectors of one generation, without keeping searches or writes waiting: everything is
//! done CONCURRENTLY, by one session in all processes at a time (an advisory lock), on a connection of its own.
//!
//! Searches use any index of a generation, and a measurement wants one in particular, which PostgreSQL has no word for. So an
//! index has a condition that holds for every row, and is one of two by its number. A search implies both by naming its
//! generation; a measurement names another column, which only one of them has.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::{VectorIndexes, name_of, table_of};
use crate::domain::{
    Code, Error, Generation, IndexSpec, Result, VectorIndex,
    vector_index::{MOST_INDEXED_DIMENSIONS, MOST_INDEXED_FLOATS},
};

/// How often it is tried to drop a table while others are in the way, and after how long.
const DROP_ATTEMPTS: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// As what an index stores vectors, and how it compares them.
pub(super) fn stored(generation: &Generation) -> (&'static str, &'static str) {
    if generation.dimensions > MOST_INDEXED_FLOATS {
        ("halfvec", "halfvec_cosine_ops")
    } else {
        ("vector", "vector_cosine_ops")
    }
}

/// Which column a measurement of the index of this number names; always another one than that of the next number.
pub(super) fn told_by(number: u32) -> &'static str {
    if number.is_multiple_of(2) { "chunk_id" } else { "board_id" }
}

pub(super) fn failed(what: &'static str, error: &tokio_postgres::Error) -> Error {
    let cause = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    let code = if error.is_closed() { Code::Overloaded } else { Code::Internal };
    Error::caused(code, what, cause)
}

/// A connection that alone works on the indexes of a generation. What is under way when it is dropped is cancelled by the
/// server a second later; an index that was being built stays behind, and cannot be used.
pub struct IndexSession {
    pub(super) client: Client,
    pub(super) generation: Generation,
    connection: JoinHandle<()>,
}

impl Drop for IndexSession {
    fn drop(&mut self) {
        // It would otherwise wait for the statement under way.
        self.connection.abort();
    }
}

impl VectorIndexes {
    /// A connection for measuring, beside whoever works on the indexes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn session(&self, generation: &Generation) -> Result<IndexSession> {
        let (client, connection) = self.connector.connect().await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(cause = %error, "A connection for indexes was lost");
            }
        });
        let session = IndexSession { client, generation: generation.clone(), connection };
        session.run("Setting a connection up failed", "SET client_connection_check_interval = '1s'").await?;
        Ok(session)
    }

    /// The same, alone in all processes; `None` if somebody else works on the indexes of this generation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lock(&self, generation: &Generation) -> Result<Option<IndexSession>> {
        let session = self.session(generation).await?;
        // It is not waited for in the database: what waits there would be waited for by whoever builds.
        let row = session
            .client
            .query_one(
                "SELECT pg_try_advisory_lock(hashtextextended('vector_index ' || $1, 0))",
                &[&generation.id.0.simple().to_string()],
            )
            .await
            .map_err(|error| failed("Taking the lock of an index failed", &error))?;
        Ok(row.try_get::<_, bool>(0).is_ok_and(|taken| taken).then_some(session))
    }
}

impl IndexSession {
    pub(super) async fn run(&self, what: &'static str, statement: &str) -> Result<()> {
        self.client.batch_execute(statement).await.map_err(|error| failed(what, &error))
    }

    /// Lets the next build take so much memory, and so many processes beside its own; `None` for as many as the server allows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allow(&self, bytes: i64, helpers: Option<u8>) -> Result<()> {
        // As PostgreSQL counts it. On some systems it takes no more than 2 GB, and says so.
        let kilobytes = (bytes >> 10).clamp(64 << 10, i32::MAX.into());
        let mut settings = format!("SET maintenance_work_mem = {kilobytes}");
        if let Some(helpers) = helpers {
            settings += &format!("; SET max_parallel_maintenance_workers = {helpers}");
        }
        self.run("Setting the memory of a build failed", &settings).await
    }

    /// Builds an index beside those that are there, and returns its name. Takes from seconds to hours.
    ///
    /// # Errors
    /// `InvalidArgument` for vectors that are too long; those of the database.
    pub async fn build(&self, spec: IndexSpec, there: &[VectorIndex]) -> Result<String> {
        if self.generation.dimensions > MOST_INDEXED_DIMENSIONS {
            return Err(Error::invalid(format!(
                "Vectors of {} numbers cannot be indexed, at most {MOST_INDEXED_DIMENSIONS} can",
                self.generation.dimensions
            )));
        }
        let last = there.iter().filter_map(|index| index.number).max().unwrap_or(0);
        let number = last.checked_add(1).ok_or_else(|| Error::internal("the numbers of indexes are used up"))?;
        let name = name_of(self.generation.id, spec.method(), number);
        let (table, (stored, compared)) = (table_of(self.generation.id), stored(&self.generation));
        let (length, told) = (self.generation.dimensions, told_by(number));
        let (method, parameters) = match spec {
            IndexSpec::Hnsw { m, ef_construction } => ("hnsw", format!("m = {m}, ef_construction = {ef_construction}")),
            IndexSpec::IvfFlat { lists } => ("ivfflat", format!("lists = {lists}")),
        };
        let statement = format!(
            "CREATE INDEX CONCURRENTLY {name} ON {table} USING {method} ((embedding::{stored}({length})) {compared}) \
             WITH ({parameters}) WHERE generation_id IS NOT NULL OR {told} IS NOT NULL"
        );
        self.run("Building an index failed", &statement).await?;
        Ok(name)
    }

    /// Drops an index that this program made; leaves others alone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn drop_index(&self, index: &VectorIndex) -> Result<()> {
        let Some(number) = index.number else { return Ok(()) };
        let name = name_of(self.generation.id, index.method, number);
        self.run("Dropping an index failed", &format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await
    }

    /// Gives the lock back at once: the server notices only later that a connection is gone.
    pub async fn end(self) {
        if let Err(error) = self.client.batch_execute("SELECT pg_advisory_unlock_all()").await {
            tracing::debug!(cause = ?error, "Could not give the lock of an index back");
        }
    }

    /// Drops the vectors of a generation that was given up, without keeping anybody waiting for long: first they are taken out
    /// of the table of all, beside those who read there. May be done again after it was cut off.
    ///
    /// # Errors
    /// `Timeout` when others were in the way for a minute; those of the database.
    pub async fn drop_vectors(&self) -> Result<()> {
        const WHAT: &str = "Dropping vectors failed";
        let table = table_of(self.generation.id);
        let attached = "SELECT i.inhdetachpending FROM pg_inherits i WHERE i.inhrelid = to_regclass($1)";
        let rows = self.client.query(attached, &[&table]).await.map_err(|error| failed(WHAT, &error))?;
        if let Some(row) = rows.first() {
            let is_pending: bool = row.try_get(0).map_err(|error| failed(WHAT, &error))?;
            let how = if is_pending { "FINALIZE" } else { "CONCURRENTLY" };
            self.run(WHAT, &format!("ALTER TABLE embeddings DETACH PARTITION {table} {how}")).await?;
        }
        // The table of chunks is locked for a moment, because vectors refer to it.
        self.run(WHAT, "SET lock_timeout = '250ms'").await?;
        let mut attempts_left = DROP_ATTEMPTS;
        loop {
            match self.client.batch_execute(&format!("DROP TABLE IF EXISTS {table}")).await {
                Ok(()) => return Ok(()),
                Err(error) if attempts_left > 0 && error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    attempts_left -= 1;
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    return Err(Error::caused(Code::Timeout, "Others were in the way for too long; try again", error));
                }
                Err(error) => return Err(failed(WHAT, &error)),
            }
        }
    }

    /// The plan of a statement, as text.
    pub(super) async fn plan(&self, statement: &str) -> Result<String> {
        let rows = self.client.simple_query(&format!("EXPLAIN {statement}")).await;
        let rows = rows.map_err(|error| failed("Explaining a statement failed", &error))?;
        let text = |row: &SimpleQueryMessage| match row {
            SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        };
        Ok(rows.iter().filter_map(text).collect::<Vec<_>>().join("\n"))
    }
}
