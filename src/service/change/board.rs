//! Boards as a whole: making, deleting, bringing back, copying.

use std::sync::Arc;

use chrono::Utc;
use serde_json::json;

use super::{
    WriteOptions,
    origin::{origin, reaches_for_board},
    validate,
};
use crate::{
    access::{Granted, Viewer},
    domain::{
        ActivityKind, AnyId, Board, BoardEdit, BoardId, BoardRecord, Claim, CopyOf, Error, Outcome, Permission,
        Refusal, User,
    },
    service::Services,
};

fn account(viewer: &Viewer) -> Result<&Arc<User>, Error> {
    viewer.user().ok_or_else(|| Error::unauthenticated("Sign in to have boards"))
}

fn no_board(id: BoardId) -> Refusal {
    Refusal::not_found("id", format!("There is no board {id}"))
}

fn new_board(id: BoardId, owner: &User) -> Board {
    let now = Utc::now();
    Board {
        id,
        owner_id: owner.id,
        name: String::new(),
        description: None,
        thumbnail_url: None,
        settings: json!({ "theme": "light", "gridSnap": true, "gridSize": 20, "showMinimap": true, "autoSave": true }),
        is_public: false,
        is_template: false,
        view_count: 0,
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

impl Services {
    fn made(&self, viewer: &Viewer, record: Arc<BoardRecord>) -> Outcome<Arc<BoardRecord>> {
        self.note(viewer, record.board.id, ActivityKind::BoardCreated, None);
        Ok(record)
    }

    /// Makes a board; the same creation again is done once.
    ///
    /// # Errors
    /// A refusal, `Unauthenticated` without an account, or those of the database.
    pub async fn create_board(
        &self,
        viewer: &Viewer,
        id: BoardId,
        edit: &dyn BoardEdit,
        options: WriteOptions,
    ) -> Outcome<Arc<BoardRecord>> {
        let owner = account(viewer)?;
        let origin = origin(viewer, options)?;
        reaches_for_board(viewer, edit)?;
        if let Some(there) = self.ports.reads.boards(&[id]).await?.into_iter().flatten().next() {
            let mut again = there.board.clone();
            edit.apply(&mut again);
            return if there.board.owner_id == owner.id && again == there.board {
                Ok(there)
            } else {
                let current = Granted::check(viewer, &there, Permission::View).map(|_| AnyId::Board(id));
                Err(Refusal::conflict("id", current, edit.fields(), "Another board has this id").into())
            };
        }
        let mut board = new_board(id, owner);
        edit.apply(&mut board);
        validate::board(&board, &edit.fields())?;
        self.ports.writes.create_board(board, None, origin, self.limits_of(owner)).await
    }

    /// Copies a board that the viewer may see; the copy is the viewer's own, and private. Folders that the viewer sees
    /// into keep their passwords, which the viewer then counts as having set; the content of the others is not copied.
    ///
    /// # Errors
    /// A refusal, `Unauthenticated` without an account, or those of the database.
    pub async fn duplicate_board(
        &self,
        viewer: &Viewer,
        id: BoardId,
        name: String,
        options: WriteOptions,
    ) -> Outcome<Arc<BoardRecord>> {
        let owner = account(viewer)?;
        let record = self.ports.reads.boards(&[id]).await?.into_iter().flatten().next().ok_or_else(|| no_board(id))?;
        let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(|| no_board(id))?;
        let locked = record.locks.iter().map(|lock| lock.folder_id);
        let open = locked.filter(|folder| !granted.sealed().contains(*folder)).collect();
        let Board { description, thumbnail_url, settings, .. } = granted.subject().board.clone();
        let board = Board { name, description, thumbnail_url, settings, ..new_board(BoardId::generate(), owner) };
        validate::board(&board, &["name"])?;
        self.made(
            viewer,
            self.ports
                .writes
                .create_board(
                    board,
                    Some(CopyOf { board: id, open, is_whole: granted.sealed().is_empty() }),
                    origin(viewer, options)?,
                    self.limits_of(owner),
                )
                .await?,
        )
    }

    /// Deletes a board; for its owner.
    ///
    /// # Errors
    /// A refusal, or those of the database.
    pub async fn delete_board(&self, viewer: &Viewer, id: BoardId, options: WriteOptions) -> Outcome<()> {
        let origin = origin(viewer, options)?;
        let Some(mut transaction) = self.ports.writes.begin(id).await? else {
            // It may be this very request that has deleted it.
            let known = match &origin.idempotency {
                Some(key) => self.ports.writes.known(key).await?,
                None => Claim::Free,
            };
            return match known {
                Claim::Done(result) if result.get("deleted") == Some(&json!(id.to_string())) => Ok(()),
                Claim::Done(_) | Claim::Reused => Err(Refusal::key_reused().into()),
                Claim::Free => Err(no_board(id).into()),
            };
        };
        let record = Arc::clone(transaction.record());
        let may_delete = async {
            let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(|| no_board(id))?;
            if granted.permission() < Permission::Owner {
                return Err(Refusal::forbidden("id", "Only its owner may delete a board").into());
            }
            match &origin.idempotency {
                // The board lives, so no request under this key has deleted it.
                Some(key) if !matches!(transaction.claim(key).await?, Claim::Free) => Err(Refusal::key_reused().into()),
                _ => Ok(()),
            }
        };
        let may_delete: Outcome<()> = may_delete.await;
        if let Err(failure) = may_delete {
            transaction.roll_back().await;
            return Err(failure);
        }
        transaction.delete_board(origin).await?;
        self.has_changed(id);
        self.note(viewer, id, ActivityKind::BoardDeleted, None);
        Ok(())
    }

    /// Brings a deleted board back; for its owner.
    ///
    /// # Errors
    /// A refusal, `Unauthenticated` without an account, or those of the database.
    pub async fn restore_board(
        &self,
        viewer: &Viewer,
        id: BoardId,
        options: WriteOptions,
    ) -> Outcome<Arc<BoardRecord>> {
        let account = account(viewer)?;
        let owner = account.id;
        let limits = self.limits_of(account);
        let restored = self.ports.writes.restore_board(id, owner, origin(viewer, options)?, limits).await?;
        self.has_changed(id);
        self.note(viewer, id, ActivityKind::BoardRestored, None);
        // A living board of the owner's own is as it was asked for.
        let record = restored.filter(|record| record.board.owner_id == owner);
        record.ok_or_else(|| no_board(id).into())
    }
}
