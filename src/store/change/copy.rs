//! What is searchable of a copied board: chunks and vectors go with the nodes, so that no text is embedded twice. Copying the nodes
//! themselves is in `board.rs`.

use std::collections::HashSet;

use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::{
    domain::{BoardId, Result},
    store::{Store, statement::Statement},
};

/// Chunks that are copied with the board itself; those of larger boards follow by jobs, one resource after the other.
const AT_ONCE: i64 = 500;

/// Makes the first resources of a copy searchable, and has the jobs of the others do the same. `old` and `new` are the nodes in one
/// order.
pub(super) async fn copy_texts(
    store: &Store,
    connection: &mut AsyncPgConnection,
    to: BoardId,
    old: &[Uuid],
    new: &[Uuid],
) -> Result<()> {
    let counts = Statement::<(SqlUuid, Integer)>::new("copy.chunk_counts")
        .sql("SELECT i.node_id, i.chunk_count FROM indexed_resources i WHERE i.node_id = ANY(")
        .bind::<Array<SqlUuid>, _>(old.to_vec())
        .sql(")");
    let counts: Vec<(Uuid, i32)> = store.run(connection, counts).await?;
    if counts.is_empty() {
        return Ok(());
    }
    let mut room = AT_ONCE;
    let now: HashSet<Uuid> = counts
        .iter()
        .filter(|(_, count)| {
            let fits = i64::from(*count) <= room;
            room -= if fits { i64::from(*count) } else { 0 };
            fits
        })
        .map(|(node, _)| *node)
        .collect();
    let indexed: HashSet<Uuid> = counts.iter().map(|(node, _)| *node).collect();
    let (from, copies) = pairs(old, new, |node| now.contains(node));
    let copied: Vec<Uuid> = store.run(connection, copy(from, copies)).await?;
    let settled = Statement::<SqlUuid>::new("copy.settled_jobs")
        .sql("DELETE FROM processing_jobs j WHERE j.job_type = 'extract_text' AND j.status = 'pending' AND j.board_id = ")
        .bind::<SqlUuid, _>(to.0)
        .sql(" AND j.resource_id = ANY(")
        .bind::<Array<SqlUuid>, _>(copied)
        .sql(") RETURNING j.id");
    let _: Vec<Uuid> = store.run(connection, settled).await?;
    let (from, copies) = pairs(old, new, |node| indexed.contains(node) && !now.contains(node));
    if from.is_empty() {
        return Ok(());
    }
    let later = Statement::<SqlUuid>::new("copy.origins")
        .sql("UPDATE processing_jobs j SET payload = j.payload || jsonb_build_object('copyOf', u.old_id) FROM unnest(")
        .bind::<Array<SqlUuid>, _>(from)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(copies)
        .sql(
            ") AS u (old_id, new_id) WHERE j.resource_id = u.new_id AND j.job_type = 'extract_text' \
             AND j.status = 'pending' AND j.board_id = ",
        )
        .bind::<SqlUuid, _>(to.0)
        .sql(" RETURNING j.id");
    let _: Vec<Uuid> = store.run(connection, later).await?;
    Ok(())
}

/// The nodes that are meant, and their copies.
fn pairs(old: &[Uuid], new: &[Uuid], is_meant: impl Fn(&Uuid) -> bool) -> (Vec<Uuid>, Vec<Uuid>) {
    old.iter().zip(new).filter(|pair| is_meant(pair.0)).map(|(old, new)| (*old, *new)).unzip()
}

/// Copies chunks and vectors of resources to copies of them; those that are searchable now. The rest has changed since, or is not
/// searchable itself.
pub(in crate::store) fn copy(from: Vec<Uuid>, to: Vec<Uuid>) -> Statement<SqlUuid> {
    Statement::new("copy.chunks")
        .sql("SELECT c.id FROM copy_chunks(")
        .bind::<Array<SqlUuid>, _>(from)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(to)
        .sql(") AS c (id)")
}
