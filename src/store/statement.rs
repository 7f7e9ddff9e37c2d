//! A hand-written, named SQL statement with typed parameters, for what the query builder cannot say: set-based statements
//! over `unnest … CROSS JOIN LATERAL`.
//!
//! Text is assembled from `'static` fragments only, so a value can enter a statement as a parameter and in no other way.
//! `diesel::sql_query` is not used because it prepares its statement anew on every execution; these are prepared once
//! per connection. The name is what logs, metrics and tests call the statement.

use std::marker::PhantomData;

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::HasSqlType,
};

trait Parameter: Send + Sync {
    fn push<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Typed<ST, T>(T, PhantomData<fn() -> ST>);

impl<ST, T> Parameter for Typed<ST, T>
where
    Pg: HasSqlType<ST>,
    T: ToSql<ST, Pg> + Send + Sync,
{
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<ST, T>(&self.0)
    }
}

enum Part {
    Sql(&'static str),
    Dimensions(i32),
    Parameter(Box<dyn Parameter>),
}

/// A statement whose rows have the SQL type `ST`.
pub(super) struct Statement<ST> {
    /// What logs, metrics and tests call it.
    pub(super) name: &'static str,
    parts: Vec<Part>,
    rows: PhantomData<fn() -> ST>,
}

impl<ST> Statement<ST> {
    pub(super) fn new(name: &'static str) -> Self {
        Statement { name, parts: Vec::new(), rows: PhantomData }
    }

    /// Adds a piece of text.
    pub(super) fn sql(mut self, text: &'static str) -> Self {
        self.parts.push(Part::Sql(text));
        self
    }

    /// Adds a piece of text where `condition` holds.
    pub(super) fn sql_if(self, condition: bool, text: &'static str) -> Self {
        if condition { self.sql(text) } else { self }
    }

    /// Adds the number of dimensions of a vector type, `(384)`: a type cannot be a parameter.
    pub(super) fn dimensions(mut self, count: i32) -> Self {
        self.parts.push(Part::Dimensions(count));
        self
    }

    /// Adds a parameter.
    pub(super) fn bind<T, V>(mut self, value: V) -> Self
    where
        Pg: HasSqlType<T>,
        T: 'static,
        V: ToSql<T, Pg> + Send + Sync + 'static,
    {
        self.parts.push(Part::Parameter(Box::new(Typed::<T, V>(value, PhantomData))));
        self
    }
}

impl<ST> QueryFragment<Pg> for Statement<ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Sql(text) => out.push_sql(text),
                Part::Dimensions(count) => out.push_sql(&format!("({count})")),
                Part::Parameter(parameter) => parameter.push(out.reborrow())?,
            }
        }
        Ok(())
    }
}

impl<ST> QueryId for Statement<ST> {
    type QueryId = ();
    // The text is the identity: it is assembled at run time.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Statement<ST> {
    type SqlType = ST;
}
