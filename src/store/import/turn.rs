//! Whose turn it is to import into a board. A turn is a row that ends by itself after half a minute unless it is prolonged,
//! so an import that died keeps nobody waiting for long, and nobody waits on a connection or on a lock.

use diesel::sql_types::{Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::Work;
use crate::{
    domain::{Result, import::ImportTarget},
    store::{Store, statement::Statement},
};

impl Store {
    /// Takes the turn for half a minute, unless another import has it; tells whether `holder` has it now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_import_turn(&self, target: &ImportTarget, holder: Uuid) -> Result<bool> {
        let taken: Vec<Uuid> = self
            .fetch(|| {
                Statement::<SqlUuid>::new("import.take_turn")
                    .sql("INSERT INTO board_imports AS i (user_id, board_name, holder, expires_at) VALUES (")
                    .bind::<SqlUuid, _>(target.owner.0)
                    .sql(", ")
                    .bind::<Text, _>(target.board_name.clone())
                    .sql(", ")
                    .bind::<SqlUuid, _>(holder)
                    .sql(
                        ", now() + interval '30 s') ON CONFLICT (user_id, board_name) \
                         DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
                         WHERE i.holder = excluded.holder OR i.expires_at < now() RETURNING i.holder",
                    )
            })
            .await?;
        Ok(!taken.is_empty())
    }

    /// Prolongs a turn to half a minute from now, if it is not over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prolong_import_turn(&self, target: &ImportTarget, holder: Uuid) -> Result<()> {
        let _: Vec<Uuid> = self.fetch(|| prolong(target, holder)).await?;
        Ok(())
    }

    /// Gives the turn back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_import_turn(&self, target: &ImportTarget, holder: Uuid) -> Result<()> {
        let _: Vec<Uuid> = self
            .fetch(|| {
                of_holder(
                    Statement::new("import.end_turn").sql("DELETE FROM board_imports i WHERE i.user_id = "),
                    target,
                    holder,
                )
            })
            .await?;
        Ok(())
    }
}

impl Work<'_> {
    /// Prolongs the turn within the transaction: nothing is written by an import that has lost it.
    pub(super) async fn keeps_turn(&mut self, target: &ImportTarget, holder: Uuid) -> Result<bool> {
        let kept: Vec<Uuid> = self.run(prolong(target, holder)).await?;
        Ok(!kept.is_empty())
    }
}

fn prolong(target: &ImportTarget, holder: Uuid) -> Statement<SqlUuid> {
    let statement = Statement::new("import.prolong_turn")
        .sql("UPDATE board_imports i SET expires_at = now() + interval '30 s' WHERE i.user_id = ");
    of_holder(statement, target, holder)
}

fn of_holder(statement: Statement<SqlUuid>, target: &ImportTarget, holder: Uuid) -> Statement<SqlUuid> {
    statement
        .bind::<SqlUuid, _>(target.owner.0)
        .sql(" AND i.board_name = ")
        .bind::<Text, _>(target.board_name.clone())
        .sql(" AND i.holder = ")
        .bind::<SqlUuid, _>(holder)
        .sql(" RETURNING i.holder")
}
