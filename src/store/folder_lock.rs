//! Folders with a password in PostgreSQL: their hashes, the tokens of those who opened them, and the condition that leaves
//! out what lies in folders that somebody is shut out of.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Binary, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, error::unexpected, statement::Statement};
use crate::domain::{BoardId, NodeId, Result, Sealed, TokenDigest, Unlock, ports::FolderLocks};

/// Adds that a node lies in none of the folders; `board` and `node` are columns.
pub(super) fn outside<ST>(
    statement: Statement<ST>,
    sealed: &Sealed,
    board: &'static str,
    node: &'static str,
) -> Statement<ST> {
    if sealed.is_empty() {
        return statement;
    }
    let folders: Vec<Uuid> = sealed.folders().iter().map(|id| id.0).collect();
    statement
        .sql(" AND NOT lies_in(")
        .sql(board)
        .sql(", ")
        .sql(node)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(folders)
        .sql(")")
}

/// Asks which of these nodes of a board lie in sealed folders.
pub(super) fn hidden(board: BoardId, nodes: &[NodeId], sealed: &Sealed) -> Statement<SqlUuid> {
    Statement::new("folder_locks.hidden")
        .sql("SELECT u.id FROM unnest(")
        .bind::<Array<SqlUuid>, _>(nodes.iter().map(|id| id.0).collect::<Vec<_>>())
        .sql(") AS u (id) WHERE lies_in(")
        .bind::<SqlUuid, _>(board.0)
        .sql(", u.id, ")
        .bind::<Array<SqlUuid>, _>(sealed.folders().iter().map(|id| id.0).collect::<Vec<_>>())
        .sql(")")
}

#[async_trait]
impl FolderLocks for Store {
    async fn hidden(&self, board: BoardId, nodes: &[NodeId], sealed: &Sealed) -> Result<Vec<NodeId>> {
        if sealed.is_empty() || nodes.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Uuid> = self.fetch(|| hidden(board, nodes, sealed)).await?;
        Ok(rows.into_iter().map(NodeId).collect())
    }

    async fn folder_password(&self, board: BoardId, folder: NodeId) -> Result<Option<String>> {
        let rows: Vec<String> = self
            .fetch(|| {
                Statement::<Text>::new("folder_locks.password")
                    .sql("SELECT f.password_hash FROM folder_nodes f WHERE f.password_hash IS NOT NULL AND f.board_id = ")
                    .bind::<SqlUuid, _>(board.0)
                    .sql(" AND f.node_id = ")
                    .bind::<SqlUuid, _>(folder.0)
            })
            .await?;
        Ok(rows.into_iter().next())
    }

    async fn keep_unlock(&self, unlock: &Unlock, password_hash: &str) -> Result<()> {
        let _: Vec<Uuid> = self
            .fetch(|| {
                Statement::<SqlUuid>::new("folder_locks.keep")
                    .sql("INSERT INTO folder_unlocks \
                         (token_digest, folder_id, principal_digest, password_hash, expires_at) VALUES (")
                    .bind::<Binary, _>(unlock.token.to_vec())
                    .sql(", ")
                    .bind::<SqlUuid, _>(unlock.folder_id.0)
                    .sql(", ")
                    .bind::<Binary, _>(unlock.principal.to_vec())
                    .sql(", ")
                    .bind::<Text, _>(password_hash.to_owned())
                    .sql(", ")
                    .bind::<Timestamptz, _>(unlock.expires_at)
                    // A lost connection may have done it already.
                    .sql(") ON CONFLICT (token_digest) DO UPDATE SET expires_at = excluded.expires_at RETURNING folder_id")
            })
            .await?;
        Ok(())
    }

    async fn unlocks(&self, tokens: &[TokenDigest]) -> Result<Vec<Unlock>> {
        let rows: Vec<(Vec<u8>, Uuid, Vec<u8>, DateTime<Utc>)> = self
            .fetch(|| {
                Statement::<(Binary, SqlUuid, Binary, Timestamptz)>::new("folder_locks.unlocks")
                    .sql(
                        "SELECT u.token_digest, u.folder_id, u.principal_digest, u.expires_at FROM folder_unlocks u \
                         JOIN folder_nodes f ON f.node_id = u.folder_id AND f.password_hash = u.password_hash \
                         WHERE u.expires_at > now() AND u.token_digest = ANY(",
                    )
                    .bind::<Array<Binary>, _>(tokens.iter().map(|token| token.to_vec()).collect::<Vec<_>>())
                    .sql(")")
            })
            .await?;
        let digest = |bytes: Vec<u8>| {
            TokenDigest::try_from(bytes).map_err(|bytes| unexpected("length of a digest", &bytes.len().to_string()))
        };
        rows.into_iter()
            .map(|(token, folder, principal, expires_at)| {
                Ok(Unlock {
                    token: digest(token)?,
                    folder_id: NodeId(folder),
                    principal: digest(principal)?,
                    expires_at,
                })
            })
            .collect()
    }
}
