//! Keyset paging in SQL: bounds as row comparisons, so that an index serves them, and the order that fits.
//!
//! Which page is meant, and how it is cut out of the rows, is `domain/page.rs`.

use diesel::sql_types::{BigInt, Double, Text, Timestamptz, Uuid as SqlUuid};

use super::statement::Statement;
use crate::domain::{Cursor, PageRequest, SortKey};

/// Adds `AND (column, id) > (…)` for each bound of the page. `descending` is the order of the list.
pub(super) fn bounds<ST>(
    statement: Statement<ST>,
    page: &PageRequest,
    descending: bool,
    column: &'static str,
    id: &'static str,
) -> Statement<ST> {
    let statement = match &page.after {
        Some(place) => bound(statement, place, if descending { ") < (" } else { ") > (" }, column, id),
        None => statement,
    };
    match &page.before {
        Some(place) => bound(statement, place, if descending { ") > (" } else { ") < (" }, column, id),
        None => statement,
    }
}

fn bound<ST>(
    statement: Statement<ST>,
    place: &Cursor,
    comparison: &'static str,
    column: &'static str,
    id: &'static str,
) -> Statement<ST> {
    let statement = statement.sql(" AND (").sql(column).sql(", ").sql(id).sql(comparison);
    let statement = match &place.key {
        SortKey::Time(at) => statement.bind::<Timestamptz, _>(*at),
        SortKey::Int(number) => statement.bind::<BigInt, _>(*number),
        SortKey::Real(number) => statement.bind::<Double, _>(*number),
        SortKey::Text(text) => statement.bind::<Text, _>(text.clone()),
    };
    statement.sql(", ").bind::<SqlUuid, _>(place.id).sql(")")
}

/// Adds `ORDER BY` and a `LIMIT` of one row more than the page has. `descending` is the direction of reading.
pub(super) fn order_limit<ST>(
    statement: Statement<ST>,
    column: &'static str,
    id: &'static str,
    descending: bool,
    limit: usize,
) -> Statement<ST> {
    let direction = if descending { " DESC" } else { "" };
    statement
        .sql(" ORDER BY ")
        .sql(column)
        .sql(direction)
        .sql(", ")
        .sql(id)
        .sql(direction)
        .sql(" LIMIT ")
        .bind::<BigInt, _>(limit as i64 + 1)
}
