//! The use of accounts by the hour, in PostgreSQL: added up there, so that any number of processes may count.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{Store, statement::Statement};
use crate::domain::{AccountUsage, Result, UsageMetric, UsagePoint, UserId, ports::Usages};

#[async_trait]
impl Usages for Store {
    async fn add_usage(&self, counts: &[(UserId, UsageMetric, UsagePoint)]) -> Result<()> {
        let mut connection = self.connection().await?;
        // Not tried again where the connection was lost: it may have been counted.
        let statement = Statement::<SqlUuid>::new("usage.add")
            .sql(
                "INSERT INTO usage_metrics AS m (user_id, metric_type, value, period_start, period_end) \
                 SELECT p.id, u.metric, u.value, u.from_time, u.from_time + interval '1 hour' FROM unnest(",
            )
            .bind::<Array<SqlUuid>, _>(counts.iter().map(|(user, ..)| user.0).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Text>, _>(counts.iter().map(|(_, metric, _)| metric.as_str()).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<BigInt>, _>(counts.iter().map(|(.., point)| point.value).collect::<Vec<_>>())
            .sql(", ")
            .bind::<Array<Timestamptz>, _>(counts.iter().map(|(.., point)| point.from).collect::<Vec<_>>())
            .sql(
                // In one order, so that two processes do not wait for each other.
                ") AS u (user_id, metric, value, from_time) JOIN users p ON p.id = u.user_id \
                 ORDER BY p.id, u.metric, u.from_time ON CONFLICT (user_id, metric_type, period_start) \
                 DO UPDATE SET value = m.value + excluded.value RETURNING m.id",
            );
        let _: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(())
    }

    async fn account_usage(&self, user: UserId) -> Result<AccountUsage> {
        self.usage_of(user).await
    }

    async fn usage(
        &self,
        user: UserId,
        metric: UsageMetric,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<UsagePoint>> {
        let rows: Vec<(DateTime<Utc>, i64)> = self
            .fetch(|| {
                Statement::<(Timestamptz, BigInt)>::new("usage.read")
                    .sql("SELECT m.period_start, m.value FROM usage_metrics m WHERE m.user_id = ")
                    .bind::<SqlUuid, _>(user.0)
                    .sql(" AND m.metric_type = ")
                    .bind::<Text, _>(metric.as_str())
                    .sql(" AND m.period_end > ")
                    .bind::<Timestamptz, _>(from)
                    .sql(" AND m.period_start < ")
                    .bind::<Timestamptz, _>(until)
                    .sql(" ORDER BY m.period_start")
            })
            .await?;
        Ok(rows.into_iter().map(|(from, value)| UsagePoint { from, value }).collect())
    }
}
