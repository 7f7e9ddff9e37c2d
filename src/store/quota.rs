//! How much accounts have, in PostgreSQL. Triggers keep the counts of each board (migration `count_account_usage`); here they are added
//! up for an account, at the end of a write and under a lock of the account, so that of two writes at a limit exactly one succeeds.

use diesel::sql_types::{BigInt, Integer, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{Store, statement::Statement};
use crate::domain::{AccountUsage, BoardId, Limits, Outcome, Result, UserId};

/// Boards that are counted in one transaction.
const BOARDS_AT_ONCE: i32 = 50;

type UsageSql = (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, Integer);
type UsageRow = (i64, i64, i64, i64, i64, i64, i32);

fn usage_from((boards, nodes, bytes, stored_boards, stored_nodes, stored_bytes, copies): UsageRow) -> AccountUsage {
    AccountUsage { boards, nodes, bytes, stored_boards, stored_nodes, stored_bytes, copies: copies.into() }
}

/// Columns of what an account has, `u`, in the order of [`UsageRow`].
const USAGE_COLUMNS: &str = "u.boards, u.nodes, u.bytes, u.stored_boards, u.stored_nodes, u.stored_bytes, u.copies";

/// Columns of the counts of a board, `s`, in the order of [`BoardRow`].
const BOARD_COLUMNS: &str =
    "s.node_count, s.living_bytes + s.link_bytes, s.stored_nodes, s.stored_bytes + s.link_bytes";

type BoardSql = (Integer, BigInt, Integer, BigInt);
type BoardRow = (i32, i64, i32, i64);

fn board_from((nodes, bytes, stored_nodes, stored_bytes): BoardRow) -> AccountUsage {
    let (nodes, stored_nodes) = (nodes.into(), stored_nodes.into());
    AccountUsage { nodes, bytes, stored_nodes, stored_bytes, ..AccountUsage::default() }
}

/// What an account has, without waiting for those who count at the moment.
fn usage(name: &'static str, owner: UserId) -> Statement<UsageSql> {
    Statement::new(name)
        .sql("SELECT ")
        .sql(USAGE_COLUMNS)
        .sql(" FROM account_usage(")
        .bind::<SqlUuid, _>(owner.0)
        .sql(", false) AS u")
}

impl Store {
    /// What an account has at the moment.
    pub(super) async fn usage_of(&self, owner: UserId) -> Result<AccountUsage> {
        let rows: Vec<UsageRow> = self.fetch(|| usage("quota.read", owner)).await?;
        Ok(rows.into_iter().next().map(usage_from).unwrap_or_default())
    }

    /// Counts what is stored on boards that were there before it was counted, some at a time. How many it found; with 0 all
    /// are counted, but for those that others hold at the moment.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_board_bytes(&self) -> Result<i64> {
        let counted: Vec<i32> = self
            .fetch(|| {
                Statement::<Integer>::new("quota.count_boards")
                    .sql("SELECT board_bytes_count(")
                    .bind::<Integer, _>(BOARDS_AT_ONCE)
                    .sql(")")
            })
            .await?;
        Ok(counted.into_iter().map(i64::from).sum())
    }

    /// What the living or deleted nodes of a board add to what its owner has, within a transaction.
    pub(super) async fn board_usage(&self, connection: &mut AsyncPgConnection, board: BoardId) -> Result<AccountUsage> {
        let statement = Statement::<BoardSql>::new("quota.board")
            .sql("SELECT ")
            .sql(BOARD_COLUMNS)
            .sql(" FROM board_stats s WHERE s.board_id = ")
            .bind::<SqlUuid, _>(board.0);
        let rows: Vec<BoardRow> = self.run(connection, statement).await?;
        Ok(rows.into_iter().next().map(board_from).unwrap_or_default())
    }

    /// Refuses what a transaction has written to a living board if by that the account has more than it may. `before` is what the board
    /// was to the account before, `copies` how many it copied. What the account has now. The last statement before the commit, because it holds the lock of the
    /// account.
    pub(super) async fn within_limits(
        &self,
        connection: &mut AsyncPgConnection,
        (owner, board): (UserId, BoardId),
        limits: &Limits,
        (before, copies): (AccountUsage, i64),
    ) -> Outcome<AccountUsage> {
        let statement = Statement::<(UsageSql, BoardSql)>::new("quota.check")
            .sql("SELECT ")
            .sql(USAGE_COLUMNS)
            .sql(", ")
            .sql(BOARD_COLUMNS)
            .sql(" FROM account_usage(")
            .bind::<SqlUuid, _>(owner.0)
            .sql(", true) AS u JOIN board_stats s ON s.board_id = ")
            .bind::<SqlUuid, _>(board.0);
        let rows: Vec<(UsageRow, BoardRow)> = self.run(connection, statement).await?;
        let Some((now, after)) = rows.into_iter().next() else { return Ok(AccountUsage::default()) };
        let (now, after) = (usage_from(now), AccountUsage { boards: 1, stored_boards: 1, copies, ..board_from(after) });
        // All but this board is as it was.
        let was = AccountUsage {
            boards: now.boards - after.boards + before.boards,
            nodes: now.nodes - after.nodes + before.nodes,
            bytes: now.bytes - after.bytes + before.bytes,
            stored_boards: now.stored_boards - after.stored_boards + before.stored_boards,
            stored_nodes: now.stored_nodes - after.stored_nodes + before.stored_nodes,
            stored_bytes: now.stored_bytes - after.stored_bytes + before.stored_bytes,
            copies: now.copies - after.copies + before.copies,
        };
        match limits.exceeded(&was, &now) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(now),
        }
    }

    /// Refuses a copy of a board that is known to be too much, before anything is copied.
    pub(super) async fn has_room_for_copy(
        &self,
        connection: &mut AsyncPgConnection,
        owner: UserId,
        limits: &Limits,
        (from, is_whole): (BoardId, bool),
    ) -> Outcome<()> {
        let rows: Vec<UsageRow> = self.run(connection, usage("quota.room", owner)).await?;
        let now = rows.into_iter().next().map(usage_from).unwrap_or_default();
        // How much is copied of a board that is not seen whole is known only afterwards.
        let source = if is_whole { self.board_usage(connection, from).await? } else { AccountUsage::default() };
        let least = now.with(1, source.nodes, source.bytes, 1);
        match limits.exceeded(&now, &least) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Counts a copy of a board.
    pub(super) async fn count_copy(&self, connection: &mut AsyncPgConnection, owner: UserId) -> Result<()> {
        let statement = Statement::<SqlUuid>::new("quota.count_copy")
            .sql("INSERT INTO account_copies AS a (user_id, copies) VALUES (")
            .bind::<SqlUuid, _>(owner.0)
            .sql(
                ", 1) ON CONFLICT (user_id) DO UPDATE SET day = CURRENT_DATE, \
                 copies = CASE WHEN a.day = CURRENT_DATE THEN a.copies + 1 ELSE 1 END RETURNING a.user_id",
            );
        let _: Vec<Uuid> = self.run(connection, statement).await?;
        Ok(())
    }
}
