//! Activity on boards, in PostgreSQL: written many at a time, read page by page.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, board_lists::each_of, error::unexpected, keyset, statement::Statement};
use crate::domain::{
    Activity, ActivityKind, ActivityOf, AnyId, BoardId, JobId, LinkId, NodeId, PageRequest, Result, UserId,
    ports::Activities,
};

pub(super) type ActivitySql =
    (SqlUuid, Timestamptz, Nullable<SqlUuid>, SqlUuid, Text, BigInt, Nullable<Text>, Nullable<SqlUuid>);
pub(super) type ActivityRow = (Uuid, DateTime<Utc>, Option<Uuid>, Uuid, String, i64, Option<String>, Option<Uuid>);

/// How the table spells what kind of object it was.
fn object_parts(object: Option<AnyId>) -> (Option<&'static str>, Option<Uuid>) {
    match object {
        None => (None, None),
        Some(AnyId::User(id)) => (Some("user"), Some(id.0)),
        Some(AnyId::Board(id)) => (Some("board"), Some(id.0)),
        Some(AnyId::Node(id)) => (Some("node"), Some(id.0)),
        Some(AnyId::Link(id)) => (Some("link"), Some(id.0)),
        Some(AnyId::Chunk(id)) => (Some("chunk"), Some(id.0)),
        Some(AnyId::Job(id)) => (Some("job"), Some(id.0)),
    }
}

pub(super) fn activity_from((id, at, user, board, kind, count, object_type, object): ActivityRow) -> Result<Activity> {
    let object = match (object_type.as_deref(), object) {
        (Some("user"), Some(id)) => Some(AnyId::User(UserId(id))),
        (Some("board"), Some(id)) => Some(AnyId::Board(BoardId(id))),
        (Some("node"), Some(id)) => Some(AnyId::Node(NodeId(id))),
        (Some("link"), Some(id)) => Some(AnyId::Link(LinkId(id))),
        (Some("job"), Some(id)) => Some(AnyId::Job(JobId(id))),
        _ => None,
    };
    let kind = ActivityKind::from_word(&kind).ok_or_else(|| unexpected("kind of activity", &kind))?;
    Ok(Activity { id, at, user: user.map(UserId), board: BoardId(board), kind, count, object })
}

fn words(of: &ActivityOf, fits: impl Fn(ActivityKind) -> bool) -> Vec<&'static str> {
    of.kinds.iter().filter(|kind| fits(**kind)).map(|kind| kind.as_str()).collect()
}

/// Of each board `k` what lies in its folders, at any depth, deleted or not; only where there are folders.
fn hidden<ST>(statement: Statement<ST>, keys: &[&ActivityOf]) -> Statement<ST> {
    if keys.iter().all(|of| of.sealed.is_empty()) {
        return statement;
    }
    let folders = (1_i64..).zip(keys).flat_map(|(ord, of)| of.sealed.folders().iter().map(move |id| (ord, id.0)));
    let (ords, folders): (Vec<i64>, Vec<Uuid>) = folders.unzip();
    statement
        .sql("WITH RECURSIVE hidden (id) AS (SELECT h.child_id FROM unnest(")
        .bind::<Array<BigInt>, _>(ords)
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(folders)
        .sql(
            ") AS s (ord, folder_id) JOIN node_hierarchy h ON h.board_id = k.board_id AND h.parent_id = s.folder_id \
             WHERE s.ord = k.ord UNION SELECT h.child_id FROM hidden i JOIN node_hierarchy h ON h.parent_id = i.id \
             AND h.board_id = k.board_id) ",
        )
}

/// FROM and WHERE, for each board `k`. What other programs write into the table is not shown here: it has other kinds.
fn told<ST>(statement: Statement<ST>, of: &ActivityOf) -> Statement<ST> {
    let statement = statement
        .sql(" FROM activity_logs a WHERE a.board_id = k.board_id AND a.activity_type::text = ANY(")
        .bind::<Array<Text>, _>(words(of, |_| true))
        .sql(")");
    if of.sealed.is_empty() {
        return statement;
    }
    statement
        .sql(" AND (a.activity_type::text = ANY(")
        .bind::<Array<Text>, _>(words(of, |kind| !kind.is_about_content()))
        .sql(
            ") OR (a.resource_type = 'node' AND EXISTS (SELECT FROM nodes n WHERE n.board_id = a.board_id \
             AND n.id = a.resource_id AND n.id NOT IN (SELECT id FROM hidden))) \
             OR (a.resource_type = 'link' AND EXISTS (SELECT FROM connections c WHERE c.board_id = a.board_id \
             AND c.id = a.resource_id AND c.from_node_id NOT IN (SELECT id FROM hidden) \
             AND c.to_node_id NOT IN (SELECT id FROM hidden))))",
        )
}

/// For each board a page of what happened on it; `keys` are alike. Each row begins with the ordinal of its key.
pub(super) fn pages(page: &PageRequest, keys: &[&ActivityOf]) -> Statement<(BigInt, ActivitySql)> {
    let statement = Statement::new("activity.pages").sql(
        "SELECT k.ord, a.id, a.created_at, a.user_id, a.board_id, a.activity_type::text, \
         coalesce((a.metadata->>'count')::bigint, 1), a.resource_type::text, a.resource_id",
    );
    let statement = hidden(each_of(statement, keys.iter().map(|of| of.board)), keys).sql("SELECT a.*");
    let statement = keys.iter().take(1).fold(statement, |statement, of| told(statement, of));
    let statement = keyset::bounds(statement, page, true, "a.created_at", "a.id");
    let down = if page.from_end { "" } else { " DESC" };
    keyset::order_limit(statement, "a.created_at", "a.id", !page.from_end, page.limit)
        .sql(") AS a ORDER BY k.ord, a.created_at")
        .sql(down)
        .sql(", a.id")
        .sql(down)
}

/// For each board how much happened on it; `keys` are alike.
pub(super) fn counts(keys: &[&ActivityOf]) -> Statement<(BigInt, BigInt)> {
    let statement = Statement::new("activity.counts").sql("SELECT k.ord, a.entries");
    let statement = hidden(each_of(statement, keys.iter().map(|of| of.board)), keys).sql("SELECT count(*) AS entries");
    keys.iter().take(1).fold(statement, |statement, of| told(statement, of)).sql(") AS a")
}

#[async_trait]
impl Activities for Store {
    async fn write_activities(&self, activities: &[Activity]) -> Result<()> {
        let objects: Vec<_> = activities.iter().map(|activity| object_parts(activity.object)).collect();
        let _: Vec<Uuid> = self
            .fetch(|| {
                Statement::<SqlUuid>::new("activity.write")
                    .sql(
                        "INSERT INTO activity_logs (id, created_at, user_id, board_id, activity_type, resource_type, resource_id, \
                         metadata) SELECT u.id, u.at, p.id, b.id, u.kind::activity_type, u.object_type, u.object, \
                         jsonb_build_object('count', u.count) FROM unnest(",
                    )
                    .bind::<Array<SqlUuid>, _>(activities.iter().map(|activity| activity.id).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Timestamptz>, _>(activities.iter().map(|activity| activity.at).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Nullable<SqlUuid>>, _>(
                        activities.iter().map(|activity| activity.user.map(|user| user.0)).collect::<Vec<_>>(),
                    )
                    .sql(", ")
                    .bind::<Array<SqlUuid>, _>(activities.iter().map(|activity| activity.board.0).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Text>, _>(
                        activities.iter().map(|activity| activity.kind.as_str()).collect::<Vec<_>>(),
                    )
                    .sql(", ")
                    .bind::<Array<Nullable<Text>>, _>(objects.iter().map(|(kind, _)| *kind).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<Nullable<SqlUuid>>, _>(objects.iter().map(|(_, id)| *id).collect::<Vec<_>>())
                    .sql(", ")
                    .bind::<Array<BigInt>, _>(activities.iter().map(|activity| activity.count).collect::<Vec<_>>())
                    // Boards and accounts may be gone by now.
                    .sql(
                        ") AS u (id, at, user_id, board_id, kind, object_type, object, count) \
                         JOIN boards b ON b.id = u.board_id LEFT JOIN users p ON p.id = u.user_id \
                         ON CONFLICT DO NOTHING RETURNING id",
                    )
            })
            .await?;
        Ok(())
    }
}
