//! Whether writes are possible: the server of the database may be a standby or refuse them, and an operator may have
//! switched all gateways to reading only.

use async_trait::async_trait;
use diesel::sql_types::{Bool, Text};

use super::{Store, statement::Statement};
use crate::domain::{Result, ports::ReadOnlyMode};

impl Store {
    /// Switches all gateways of this database to reading only, or back. They follow within a second.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_read_only(&self, is_on: bool) -> Result<()> {
        let _: Vec<String> = self
            .fetch(|| {
                Statement::<Text>::new("read_only.switch").sql(if is_on {
                    "INSERT INTO service_modes (name) VALUES ('read_only') \
                     ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING name"
                } else {
                    "DELETE FROM service_modes WHERE name = 'read_only' RETURNING name"
                })
            })
            .await?;
        Ok(())
    }
}

#[async_trait]
impl ReadOnlyMode for Store {
    async fn refuses_writes(&self) -> Result<bool> {
        let rows: Vec<bool> = self
            .fetch(|| {
                Statement::<Bool>::new("read_only").sql(
                    "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean \
                     OR EXISTS (SELECT FROM service_modes WHERE name = 'read_only')",
                )
            })
            .await?;
        Ok(rows.contains(&true))
    }
}
