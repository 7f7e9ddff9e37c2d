//! Lists of many boards at once, besides what lies on them: each kind of list with one statement, however many boards are
//! asked for. How a row becomes an entity is in the files of the nouns.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store,
    activity::{self, ActivityRow, activity_from},
    event::{EVENT_COLUMNS, EventRow, EventSql, event_from},
    job::{JOB_COLUMNS, JobRow, JobSql, jobs_from, listed},
    keyset,
    share::{SHARE_COLUMNS, SHARE_STAMP, ShareRow, ShareSql, share_from},
    sharing::{COLLABORATOR_COLUMNS, CollaboratorRow, CollaboratorSql, collaborator_from},
    statement::Statement,
};
use crate::domain::{
    Activity, ActivityOf, BoardEvent, BoardId, Collaborator, Error, EventsAfter, Job, JobList, Page, PageRequest,
    Result, Share, ports::BoardLists,
};

/// Adds `unnest($boards) WITH ORDINALITY AS k (board_id, ord) CROSS JOIN LATERAL (`.
pub(super) fn each_of<ST>(statement: Statement<ST>, boards: impl Iterator<Item = BoardId>) -> Statement<ST> {
    statement
        .sql(" FROM unnest(")
        .bind::<Array<SqlUuid>, _>(boards.map(|board| board.0).collect::<Vec<Uuid>>())
        .sql(") WITH ORDINALITY AS k (board_id, ord) CROSS JOIN LATERAL (")
}

/// The number of each board, 0 where there is none.
fn in_order(boards: usize, rows: Vec<(i64, i64)>) -> Result<Vec<i64>> {
    let mut counts = vec![0; boards];
    for (ord, count) in rows {
        let place = usize::try_from(ord - 1).ok().and_then(|place| counts.get_mut(place));
        *place.ok_or_else(|| Error::internal("board_lists: a row of no board"))? = count;
    }
    Ok(counts)
}

#[async_trait]
impl BoardLists for Store {
    async fn event_lists(&self, keys: &[EventsAfter]) -> Result<Vec<Arc<Vec<Arc<BoardEvent>>>>> {
        self.by_shape(
            keys,
            |a, b| a.most == b.most,
            |first, keys| {
                Statement::<(BigInt, EventSql)>::new("events.lists")
                    .sql("SELECT k.ord, ")
                    .sql(EVENT_COLUMNS)
                    .sql(" FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(keys.iter().map(|key| key.board.0).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<BigInt>, _>(keys.iter().map(|key| key.version).collect::<Vec<_>>())
                    .sql(
                        ") WITH ORDINALITY AS k (board_id, version, ord) CROSS JOIN LATERAL (\
                         SELECT e.* FROM board_events e WHERE e.board_id = k.board_id AND e.version > k.version \
                         ORDER BY e.version LIMIT ",
                    )
                    .bind::<BigInt, _>(first.most)
                    .sql(") AS e ORDER BY k.ord, e.version")
            },
            |_, rows: Vec<EventRow>| Ok(Arc::new(rows.into_iter().map(|row| Arc::new(event_from(row))).collect())),
        )
        .await
    }

    async fn event_counts(&self, boards: &[BoardId]) -> Result<Vec<i64>> {
        let rows = self
            .fetch(|| {
                let statement = Statement::<(BigInt, BigInt)>::new("events.counts").sql("SELECT k.ord, e.entries");
                each_of(statement, boards.iter().copied())
                    .sql("SELECT count(*) AS entries FROM board_events e WHERE e.board_id = k.board_id) AS e")
            })
            .await?;
        in_order(boards.len(), rows)
    }

    async fn share_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Arc<Share>>>>> {
        self.by_shape(
            boards,
            |_, _| true,
            |_, boards| {
                let statement = Statement::<(BigInt, ShareSql)>::new("sharing.share_lists")
                    .sql("SELECT k.ord, ")
                    .sql(SHARE_COLUMNS)
                    .sql(SHARE_STAMP);
                each_of(statement, boards.iter().map(|board| **board))
                    .sql("SELECT s.*, s.xmin FROM board_shares s WHERE s.board_id = k.board_id ORDER BY s.id DESC LIMIT ")
                    .bind::<BigInt, _>(most)
                    .sql(") AS s ORDER BY k.ord, s.id DESC")
            },
            |_, rows: Vec<ShareRow>| {
                let shares = rows.into_iter().map(|row| share_from(row).map(Arc::new));
                Ok(Arc::new(shares.collect::<Result<_>>()?))
            },
        )
        .await
    }

    async fn collaborator_lists(&self, boards: &[BoardId], most: i64) -> Result<Vec<Arc<Vec<Collaborator>>>> {
        self.by_shape(
            boards,
            |_, _| true,
            |_, boards| {
                let statement =
                    Statement::<(BigInt, CollaboratorSql)>::new("sharing.collaborator_lists").sql("SELECT k.ord, ");
                each_of(
                    COLLABORATOR_COLUMNS.into_iter().fold(statement, Statement::sql),
                    boards.iter().map(|board| **board),
                )
                .sql("SELECT c.* FROM board_collaborators c WHERE c.board_id = k.board_id ORDER BY c.id LIMIT ")
                .bind::<BigInt, _>(most)
                .sql(") AS c JOIN users u ON u.id = c.user_id ORDER BY k.ord, c.id")
            },
            |_, rows: Vec<CollaboratorRow>| {
                Ok(Arc::new(rows.into_iter().map(collaborator_from).collect::<Result<_>>()?))
            },
        )
        .await
    }

    async fn job_pages(&self, keys: &[(JobList, PageRequest)]) -> Result<Vec<Page<Arc<Job>>>> {
        self.by_shape(
            keys,
            |(a, page_a), (b, page_b)| a.is_alike(b) && page_a == page_b,
            |(list, page), keys| {
                let statement = Statement::<(BigInt, JobSql)>::new("jobs.pages").sql("SELECT k.ord, ").sql(JOB_COLUMNS);
                let statement = each_of(statement, keys.iter().map(|(list, _)| list.board)).sql("SELECT j.*");
                let statement = listed(statement, list);
                let statement = keyset::bounds(statement, page, true, "j.created_at", "j.id");
                let down = if page.from_end { "" } else { " DESC" };
                keyset::order_limit(statement, "j.created_at", "j.id", !page.from_end, page.limit)
                    .sql(") AS j ORDER BY k.ord, j.created_at")
                    .sql(down)
                    .sql(", j.id")
                    .sql(down)
            },
            |(_, page), rows: Vec<JobRow>| Ok(page.cut(jobs_from(rows)?.into_iter().map(Arc::new).collect())),
        )
        .await
    }

    async fn job_counts(&self, lists: &[JobList]) -> Result<Vec<i64>> {
        self.by_shape(
            lists,
            JobList::is_alike,
            |list, lists| {
                let statement = Statement::<(BigInt, BigInt)>::new("jobs.counts").sql("SELECT k.ord, j.jobs");
                let statement = each_of(statement, lists.iter().map(|list| list.board)).sql("SELECT count(*) AS jobs");
                listed(statement, list).sql(") AS j")
            },
            |_, rows: Vec<i64>| Ok(rows.into_iter().sum()),
        )
        .await
    }

    async fn activity_pages(&self, keys: &[(ActivityOf, PageRequest)]) -> Result<Vec<Page<Activity>>> {
        self.by_shape(
            keys,
            |(a, page_a), (b, page_b)| a.is_alike(b) && page_a == page_b,
            |(_, page), keys| activity::pages(page, &keys.iter().map(|(of, _)| of).collect::<Vec<_>>()),
            |(_, page), rows: Vec<ActivityRow>| {
                Ok(page.cut(rows.into_iter().map(activity_from).collect::<Result<_>>()?))
            },
        )
        .await
    }

    async fn activity_counts(&self, keys: &[ActivityOf]) -> Result<Vec<i64>> {
        self.by_shape(
            keys,
            ActivityOf::is_alike,
            |_, keys| activity::counts(keys),
            |_, rows: Vec<i64>| Ok(rows.into_iter().sum()),
        )
        .await
    }
}
