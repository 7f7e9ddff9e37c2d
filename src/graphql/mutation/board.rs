//! Mutations of boards themselves.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::{
        board::{Board, BoardEdge},
        scope::Session,
    },
    Writing,
    input::{BoardParts, WriteOptions},
    no_board,
    payload::{Refused, payload},
    read_id,
};
use crate::domain::{Action, BoardEdit, BoardId, BoardRecord, Change, ChangeSet, Failure, Outcome, Refusal};

pub(super) use super::input::BoardParts as BoardChangeParts;

payload!(
    /// A board was made, changed, deleted or brought back.
    BoardPayload {
        /// The board; null when it was deleted.
        board: Option<Board>,
        /// Id of the board.
        board_id: Option<ID>,
        /// The board at its place in the viewer's boards, the last changed first; only of one that was made.
        edge: Option<BoardEdge>,
    }
);

/// A board to be made.
#[derive(InputObject)]
pub(super) struct CreateBoardInput {
    /// Chosen by the client, `board_…`: the same creation again is done once. A fresh one if not given.
    id: Option<ID>,
    #[graphql(flatten)]
    board: BoardParts,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A board and what is to be changed of it.
#[derive(InputObject)]
pub(super) struct UpdateBoardInput {
    /// The board.
    id: ID,
    /// The version of the board that the client knows; if it has another by now, nothing is done.
    expected_version: Option<i64>,
    #[graphql(flatten)]
    board: BoardParts,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A board.
#[derive(InputObject)]
pub(super) struct BoardInput {
    /// The board.
    id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A board to be copied.
#[derive(InputObject)]
pub(super) struct DuplicateBoardInput {
    /// The board or template.
    id: ID,
    /// Name of the copy, unique among the viewer's boards.
    name: String,
    #[graphql(flatten)]
    options: WriteOptions,
}

impl Writing {
    async fn board(self, outcome: Outcome<std::sync::Arc<BoardRecord>>, is_new: bool) -> Result<BoardPayload> {
        let outcome = self.settled(outcome).await?;
        let session = self.afterwards();
        let client_mutation_id = self.client_mutation_id;
        Ok(match outcome {
            Ok(record) => {
                let scope = session.enter(&record);
                BoardPayload {
                    board_id: Some(super::super::scalar::id(record.board.id)),
                    edge: scope.clone().filter(|_| is_new).map(|scope| BoardEdge::of_new(&session, scope)),
                    board: scope.map(Board),
                    client_mutation_id,
                    user_errors: Vec::new(),
                }
            }
            Err(error) => BoardPayload::refused(client_mutation_id, error),
        })
    }
}

#[derive(Default)]
pub(super) struct BoardMutations;

/// Mutations of boards themselves.
#[Object]
impl BoardMutations {
    /// Makes a board that belongs to the viewer.
    async fn create_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is given of the board; its name must be.")] input: CreateBoardInput,
    ) -> Result<BoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let id = input.id.as_ref().map_or_else(|| Ok(BoardId::generate()), |id| read_id("id", id));
        let outcome = match id {
            Ok(id) => {
                let Session { services, viewer, .. } = &*writing.session;
                services.create_board(viewer, id, &input.board, writing.options.clone()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        writing.board(outcome, true).await
    }

    /// Changes a board.
    async fn update_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and what is to be changed of it.")] input: UpdateBoardInput,
    ) -> Result<BoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let edit: Box<dyn BoardEdit> = Box::new(input.board);
        let set = |board_id| ChangeSet {
            board_id,
            absent: no_board("id", board_id),
            expected_version: input.expected_version,
            changes: vec![Change { path: Vec::new(), action: Action::EditBoard { edit } }],
        };
        let outcome = match read_id("id", &input.id) {
            Ok(id) => {
                let Session { services, viewer, .. } = &*writing.session;
                services.apply(viewer, set(id), writing.options.clone()).await.map(|applied| applied.record)
            }
            Err(refusal) => Err(refusal.into()),
        };
        writing.board(outcome, false).await
    }

    /// Deletes a board; for its owner. It can be restored.
    async fn delete_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] input: BoardInput,
    ) -> Result<BoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let id: Result<BoardId, Refusal> = read_id("id", &input.id);
        let outcome = match &id {
            Ok(id) => {
                let Session { services, viewer, .. } = &*writing.session;
                services.delete_board(viewer, *id, writing.options.clone()).await
            }
            Err(refusal) => Err(Failure::Refused(refusal.clone())),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => {
                let board_id = id.ok().map(super::super::scalar::id);
                BoardPayload { board_id, client_mutation_id, ..BoardPayload::default() }
            }
            Err(error) => BoardPayload::refused(client_mutation_id, error),
        })
    }

    /// Brings a deleted board back; for its owner.
    async fn restore_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] input: BoardInput,
    ) -> Result<BoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let outcome = match read_id("id", &input.id) {
            Ok(id) => {
                let Session { services, viewer, .. } = &*writing.session;
                services.restore_board(viewer, id, writing.options.clone()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        writing.board(outcome, false).await
    }

    /// Copies a board or template with everything on it that the viewer sees; the copy belongs to the viewer and is private.
    /// A folder with a password that the viewer sees into has the same password in the copy. One that the viewer is shut out
    /// of is empty there and has none.
    async fn duplicate_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and the name of the copy.")] input: DuplicateBoardInput,
    ) -> Result<BoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let outcome = match read_id("id", &input.id) {
            Ok(id) => {
                let Session { services, viewer, .. } = &*writing.session;
                services.duplicate_board(viewer, id, input.name, writing.options.clone()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        writing.board(outcome, true).await
    }
}
