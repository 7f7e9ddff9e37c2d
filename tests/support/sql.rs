//! Looking into a database without ceremony: one value, all values, waiting for a condition, the constraint that refused.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use super::patience::PATIENCE;

/// Twice that of others: it is also waited for what a debug build reads, cuts and embeds meanwhile.
const DEADLINE: Duration = PATIENCE.saturating_mul(2);

/// Asks the database until the answer is yes.
pub(crate) async fn until(client: &Client, question: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "never came true: {question}");
    }
}

/// Asks whether so many statements wait for a lock; for [`until`].
pub(crate) fn waiting(statements: usize) -> String {
    format!(
        "SELECT count(*) = {statements} FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock'"
    )
}

/// The first column of all rows of a query, as text.
pub(crate) async fn values(client: &Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let text = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    };
    messages.iter().filter_map(text).collect()
}

/// The one value of a query, as text.
pub(crate) async fn value(client: &Client, query: &str) -> String {
    values(client, query).await.pop().unwrap_or_else(|| panic!("no row: {query}"))
}

/// The constraint that a statement broke.
pub(crate) async fn refused_by(client: &Client, statement: &str) -> String {
    let Err(error) = client.batch_execute(statement).await else { panic!("was not refused: {statement}") };
    constraint_of(&error)
}

/// The constraint that an error names.
pub(crate) fn constraint_of(error: &tokio_postgres::Error) -> String {
    let cause = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    cause.constraint().unwrap_or_else(|| panic!("{cause:?}")).to_owned()
}
