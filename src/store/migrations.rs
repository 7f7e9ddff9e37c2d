//! The migrations of `migrations/`, built into the program: running them forth and back, and telling whether a database
//! fits the program. Two programs that start together do not race: each holds an advisory lock while it migrates.

use std::{collections::HashSet, time::Duration};

use diesel::{
    migration::{Migration, MigrationSource, MigrationVersion},
    pg::Pg,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use secrecy::SecretString;

use super::{Store, error, statement::Statement, tls};
use crate::domain::{Code, Error, Result};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Months for which partitions are made ahead.
const PARTITION_MONTHS_AHEAD: i32 = 3;
/// "ragboard" in ASCII: the advisory lock of migrating.
const LOCK: i64 = 0x7261_6762_6f61_7264;
/// How often the lock is asked for while another program migrates.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

type Connection = AsyncConnectionWrapper<AsyncPgConnection>;
type MigrationResult<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One migration and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its folder in `migrations/`.
    pub name: String,
    /// Whether the database has it.
    pub is_applied: bool,
}

/// How a database relates to the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It has exactly the migrations that the program knows.
    Exact,
    /// The program knows migrations that the database does not have: this many.
    Older(usize),
    /// The database has migrations that the program does not know: this many.
    Newer(usize),
}

/// What to do with the migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Apply all that are missing.
    Up,
    /// Take back this many.
    Down(usize),
    /// Take back the last one and apply it again.
    Redo,
}

/// All migrations of the program with their state, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn status(url: &SecretString) -> Result<Vec<MigrationState>> {
    blocking(url, |connection| {
        let applied = applied(connection)?;
        Ok(known()?
            .iter()
            .map(|migration| MigrationState {
                name: migration.name().to_string(),
                is_applied: applied.contains(&migration.name().version().to_string()),
            })
            .collect())
    })
    .await
}

/// Whether the database fits the program.
///
/// # Errors
/// Those of the database.
pub async fn fit(url: &SecretString) -> Result<Fit> {
    blocking(url, |connection| {
        let applied = applied(connection)?;
        let known: HashSet<String> = known()?.iter().map(|migration| migration.name().version().to_string()).collect();
        Ok(match (applied.difference(&known).count(), known.difference(&applied).count()) {
            (0, 0) => Fit::Exact,
            (0, missing) => Fit::Older(missing),
            (unknown, _) => Fit::Newer(unknown),
        })
    })
    .await
}

/// Runs migrations and returns the names of those that ran, in that order.
///
/// # Errors
/// Those of the database; what ran before the failing one stays.
pub async fn run(url: &SecretString, direction: Direction) -> Result<Vec<String>> {
    let names = blocking(url, move |connection| {
        let mut ran = Vec::new();
        match direction {
            Direction::Up => {
                for migration in connection.pending_migrations(MIGRATIONS)? {
                    connection.run_migration(&migration)?;
                    ran.push(migration.name().to_string());
                }
            }
            Direction::Down(steps) => {
                for _ in 0..steps {
                    ran.push(revert_last(connection)?);
                }
            }
            Direction::Redo => {
                ran.push(revert_last(connection)?);
                connection.run_next_migration(MIGRATIONS)?;
            }
        }
        Ok(ran)
    })
    .await?;
    tracing::info!(?direction, count = names.len(), "Ran migrations");
    Ok(names)
}

fn known() -> MigrationResult<Vec<Box<dyn Migration<Pg>>>> {
    let mut migrations = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
    migrations.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(migrations)
}

fn applied(connection: &mut Connection) -> MigrationResult<HashSet<String>> {
    Ok(connection.applied_migrations()?.iter().map(MigrationVersion::to_string).collect())
}

fn revert_last(connection: &mut Connection) -> MigrationResult<String> {
    let last = connection.applied_migrations()?.into_iter().next().ok_or("no migration is applied")?;
    let name = known()?
        .iter()
        .find(|migration| migration.name().version() == last)
        .map(|migration| migration.name().to_string())
        .ok_or_else(|| format!("migration {last} is not known to this program"))?;
    connection.revert_last_migration(MIGRATIONS)?;
    Ok(name)
}

/// Diesel's migrations are synchronous: they run on a thread of their own, on a connection of their own.
async fn blocking<T: Send + 'static>(
    url: &SecretString,
    work: impl FnOnce(&mut Connection) -> MigrationResult<T> + Send + 'static,
) -> Result<T> {
    let (client, connection) = tls::connect(url, "ragboard migrate").await?;
    let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|cause| Error::caused(Code::Overloaded, "The database cannot be reached", cause))?;
    lock(&mut connection).await?;
    // Closing the connection gives the lock back, in every outcome.
    let mut connection = Connection::from(connection);
    tokio::task::spawn_blocking(move || work(&mut connection)).await.map_err(Error::internal)?.map_err(Error::internal)
}

/// Takes the lock of migrating. It is asked for again and again and not waited for in the database: a statement that
/// waits there would itself be waited for by a `CREATE INDEX CONCURRENTLY` of the program that has the lock.
async fn lock(connection: &mut AsyncPgConnection) -> Result<()> {
    let mut told = false;
    loop {
        let statement = Statement::<Bool>::new("migrations.lock")
            .sql("SELECT pg_try_advisory_lock(")
            .bind::<BigInt, _>(LOCK)
            .sql(")");
        let taken: Vec<bool> = diesel_async::RunQueryDsl::load(statement, connection)
            .await
            .map_err(|cause| error::from_diesel("migrations.lock", cause))?;
        if taken.contains(&true) {
            return Ok(());
        }
        if !told {
            tracing::info!("Another program migrates the database; waiting for it");
            told = true;
        }
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
}

impl Store {
    /// Makes the month partitions that are missing, some months ahead; returns how many it made.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create_month_partitions(&self) -> Result<i32> {
        let rows: Vec<i32> = self
            .fetch(|| {
                Statement::<Integer>::new("partitions.create")
                    .sql("SELECT create_month_partitions(")
                    .bind::<Integer, _>(PARTITION_MONTHS_AHEAD)
                    .sql(")")
            })
            .await?;
        Ok(rows.into_iter().sum())
    }

    /// Drops the oldest month of the change log if all of it is older than so many days; its name, if there was one.
    ///
    /// # Errors
    /// `Timeout` when others are in the way, who are not kept waiting; those of the database.
    pub async fn drop_event_partition(&self, keep_days: u32) -> Result<Option<String>> {
        let mut connection = self.connection().await?;
        let statement = Statement::<Nullable<Text>>::new("partitions.drop")
            .sql("SELECT drop_event_partition(")
            .bind::<Integer, _>(i32::try_from(keep_days).unwrap_or(i32::MAX))
            .sql(")");
        let rows: Vec<Option<String>> = self.run(&mut connection, statement).await?;
        Ok(rows.into_iter().flatten().next())
    }
}
