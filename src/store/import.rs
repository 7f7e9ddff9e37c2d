//! Bringing an imported board up to date: one transaction that holds the board's lock from its first statement to its
//! commit. Whatever ends it early, the board stays as it was. What it does to nodes and to links is in the files below.

mod links;
mod nodes;

use diesel::{
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    pg::Pg,
    query_dsl::CompatibleType,
    sql_types::{BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, pooled_connection::bb8::PooledConnection};
use uuid::Uuid;

use super::{
    Store,
    change::append,
    error::unexpected,
    statement::Statement,
    transaction::{begin, commit},
};
use crate::domain::{
    BoardId, Error, Logged, NodeId, NodeType, Origin as ChangeOrigin, Placement, Rect, Result, UserId,
    import::{KnownNode, Origin},
    job::IMPORT_PRIORITY,
};

/// Rows per statement.
const ROWS: usize = 500;
/// Deleting makes the database count the board anew, once per statement: better few and large ones.
const IDS: usize = 10_000;

/// The transaction of one import. Dropping it undoes everything.
pub struct BoardImport<'a> {
    store: &'a Store,
    connection: PooledConnection<'a, AsyncPgConnection>,
    board: BoardId,
    /// The version of the board that this import makes; changed rows carry it.
    version: i64,
    is_new: bool,
    has_written: bool,
}

impl Store {
    /// Begins an import into the living board of this name and owner, which is made, public or not, when there is none.
    /// Waits for another import into the same board.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_import(&self, owner: UserId, name: &str, is_public: bool) -> Result<BoardImport<'_>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        // Another import may hold the board for longer than a request may take, and reading files happens in between. What
        // somebody writes by hand is worked on before what was imported.
        let settings = Statement::<Text>::new("import.settings")
            .sql(
                "SELECT set_config('statement_timeout', '10min', true) \
             || set_config('idle_in_transaction_session_timeout', '0', true) \
             || set_config('ragboard.job_priority', ",
            )
            .bind::<Text, _>(IMPORT_PRIORITY.to_string())
            .sql(", true)");
        let _: Vec<String> = self.run(&mut connection, settings).await?;

        let mut import = BoardImport {
            store: self,
            connection,
            board: BoardId::generate(),
            version: 1,
            is_new: false,
            has_written: false,
        };
        if !import.lock(owner, name).await? {
            import.create(owner, name, is_public).await?;
            // Had another import made it meanwhile, ours would have made nothing and this finds the other's.
            if !import.lock(owner, name).await? {
                return Err(Error::internal("import.lock: the board is neither there nor can it be made"));
            }
        }
        Ok(import)
    }
}

impl BoardImport<'_> {
    /// The board.
    #[must_use]
    pub fn board_id(&self) -> BoardId {
        self.board
    }

    /// All living nodes of the board, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn nodes(&mut self) -> Result<Vec<KnownNode>> {
        type Sql = (
            SqlUuid,
            Text,
            Double,
            Double,
            Double,
            Double,
            Nullable<Text>,
            Nullable<Text>,
            Nullable<(SqlUuid, Double)>,
        );
        type Row = (Uuid, String, f64, f64, f64, f64, Option<String>, Option<String>, Option<(Uuid, f64)>);
        let statement = Statement::<Sql>::new("import.nodes")
            .sql(
                "SELECT n.id, n.type::text, n.x, n.y, n.width, n.height, \
                 CASE WHEN jsonb_typeof(n.metadata #> '{import,path}') = 'string' \
                 THEN n.metadata #>> '{import,path}' END, n.metadata #>> '{import,digest}', \
                 h.parent_id, h.position \
                 FROM nodes n LEFT JOIN node_hierarchy h ON h.board_id = n.board_id AND h.child_id = n.id \
                 WHERE n.deleted_at IS NULL AND n.board_id = ",
            )
            .bind::<SqlUuid, _>(self.board.0)
            .sql(" ORDER BY n.id");
        let rows: Vec<Row> = self.run(statement).await?;
        rows.into_iter()
            .map(|(id, node_type, x, y, width, height, path, digest, placement)| {
                Ok(KnownNode {
                    id: NodeId(id),
                    node_type: NodeType::from_word(&node_type).ok_or_else(|| unexpected("node type", &node_type))?,
                    rect: Rect { x, y, width, height },
                    placement: placement.map(|(folder, position)| Placement { folder_id: NodeId(folder), position }),
                    origin: path.map(|path| Origin { path, digest }),
                })
            })
            .collect()
    }

    /// Makes everything last. The board's version grows by one if anything was written to a board that was there before.
    ///
    /// # Errors
    /// Those of the database; the board is then as it was.
    pub async fn commit(mut self) -> Result<()> {
        if self.has_written && !self.is_new {
            let statement = Statement::<SqlUuid>::new("import.version")
                .sql("UPDATE boards SET version = ")
                .bind::<BigInt, _>(self.version)
                .sql(", updated_at = now() WHERE id = ")
                .bind::<SqlUuid, _>(self.board.0)
                .sql(" RETURNING id");
            self.write(statement).await?;
            let (origin, logged) = (ChangeOrigin::default(), [Logged::Unknown]);
            append(self.store, &mut self.connection, self.board, self.version, &origin, &logged).await?;
        }
        commit(&mut self.connection).await
    }

    async fn lock(&mut self, owner: UserId, name: &str) -> Result<bool> {
        let statement = Statement::<(SqlUuid, BigInt)>::new("import.lock")
            .sql("SELECT b.id, b.version FROM boards b WHERE b.deleted_at IS NULL AND b.user_id = ")
            .bind::<SqlUuid, _>(owner.0)
            .sql(" AND b.name = ")
            .bind::<Text, _>(name.to_owned())
            .sql(" FOR UPDATE");
        let rows: Vec<(Uuid, i64)> = self.run(statement).await?;
        let Some((board, version)) = rows.into_iter().next() else { return Ok(false) };
        self.board = BoardId(board);
        self.version = if self.is_new { version } else { version + 1 };
        Ok(true)
    }

    async fn create(&mut self, owner: UserId, name: &str, is_public: bool) -> Result<()> {
        let statement = Statement::<SqlUuid>::new("import.create")
            .sql("INSERT INTO boards (id, user_id, name, is_public) VALUES (")
            .bind::<SqlUuid, _>(self.board.0)
            .sql(", ")
            .bind::<SqlUuid, _>(owner.0)
            .sql(", ")
            .bind::<Text, _>(name.to_owned())
            .sql(", ")
            .bind::<Bool, _>(is_public)
            .sql(") ON CONFLICT (user_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING id");
        let made: Vec<Uuid> = self.run(statement).await?;
        self.is_new = !made.is_empty();
        Ok(())
    }

    async fn write(&mut self, statement: Statement<SqlUuid>) -> Result<()> {
        self.has_written = true;
        let _: Vec<Uuid> = self.run(statement).await?;
        Ok(())
    }

    async fn run<ST, Row>(&mut self, statement: Statement<ST>) -> Result<Vec<Row>>
    where
        Pg: QueryMetadata<ST>,
        ST: CompatibleType<Row, Pg, SqlType = ST> + 'static,
        Row: FromSqlRow<ST, Pg> + Send + 'static,
    {
        self.store.run(&mut self.connection, statement).await
    }
}

fn uuids(nodes: &[NodeId]) -> Vec<Uuid> {
    nodes.iter().map(|id| id.0).collect()
}
