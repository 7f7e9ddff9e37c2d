//! Sessions of accounts in PostgreSQL, for their holders. Ending one revokes its refresh tokens; triggers note that beside it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, keyset, statement::Statement};
use crate::domain::{AccountSession, AccountSessions, Page, PageRequest, Result, SessionId, UserId, WhichSessions};

type SessionSql = (SqlUuid, Timestamptz, Timestamptz, Timestamptz, Nullable<Text>, Nullable<Text>);
type SessionRow = (Uuid, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>, Option<String>, Option<String>);

fn session_from(row: SessionRow) -> AccountSession {
    let (id, created_at, last_used_at, expires_at, device, address) = row;
    AccountSession { id: SessionId(id), created_at, last_used_at, expires_at, device, address }
}

const GOES_ON: &str = "s.ended_at IS NULL AND s.expires_at > now() AND s.user_id = ";

#[async_trait]
impl AccountSessions for Store {
    async fn session_page(&self, user: UserId, page: &PageRequest) -> Result<Page<AccountSession>> {
        let rows: Vec<SessionRow> = self
            .fetch(|| {
                let statement = Statement::<SessionSql>::new("sessions.page")
                    .sql("SELECT s.id, s.created_at, s.last_used_at, s.expires_at, s.device, s.address FROM sessions s WHERE ")
                    .sql(GOES_ON)
                    .bind::<SqlUuid, _>(user.0);
                let statement = keyset::bounds(statement, page, true, "s.created_at", "s.id");
                keyset::order_limit(statement, "s.created_at", "s.id", !page.from_end, page.limit)
            })
            .await?;
        Ok(page.cut(rows.into_iter().map(session_from).collect()))
    }

    async fn session_count(&self, user: UserId) -> Result<i64> {
        let rows: Vec<i64> = self
            .fetch(|| {
                Statement::<BigInt>::new("sessions.count")
                    .sql("SELECT count(*) FROM sessions s WHERE ")
                    .sql(GOES_ON)
                    .bind::<SqlUuid, _>(user.0)
            })
            .await?;
        Ok(rows.first().copied().unwrap_or_default())
    }

    async fn end_sessions(&self, user: UserId, which: WhichSessions) -> Result<Vec<Uuid>> {
        let mut connection = self.connection().await?;
        let statement = Statement::<SqlUuid>::new("sessions.end")
            .sql("WITH ended AS (UPDATE refresh_tokens t SET revoked_at = now() WHERE t.revoked_at IS NULL AND t.user_id = ")
            .bind::<SqlUuid, _>(user.0);
        let statement = match which {
            WhichSessions::One(session) => statement.sql(" AND t.family_id = ").bind::<SqlUuid, _>(session.0),
            WhichSessions::AllBut(kept) => {
                let kept = kept.map(|session| session.0);
                statement.sql(" AND t.family_id IS DISTINCT FROM ").bind::<Nullable<SqlUuid>, _>(kept)
            }
        };
        let statement = statement.sql(" RETURNING t.family_id) SELECT DISTINCT e.family_id FROM ended e");
        self.run(&mut connection, statement).await
    }

    async fn note_session(&self, session: Uuid, device: Option<&str>, address: &str) -> Result<()> {
        let mut connection = self.connection().await?;
        let statement = Statement::<SqlUuid>::new("sessions.note")
            .sql("UPDATE sessions s SET device = coalesce(")
            .bind::<Nullable<Text>, _>(device.map(str::to_owned))
            .sql(", s.device), address = ")
            .bind::<Text, _>(address.to_owned())
            .sql(" WHERE s.id = ")
            .bind::<SqlUuid, _>(session)
            .sql(" RETURNING s.id");
        let _: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(())
    }
}
