//! Mutations of folders with a password: setting it, and opening the folder with it.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    super::{board::Board, folder::FolderNode, node::BoardNode, scope::Session},
    Writing, board_of, change,
    input::WriteOptions,
    no_node,
    payload::{UserError, payload},
    read_id,
};
use crate::domain::{Action, BoardId, ChangeSet, NodeId, Outcome, Refusal};

payload!(
    /// A folder has another password, or none any more.
    SetFolderPasswordPayload {
        /// The folder.
        folder: Option<FolderNode>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// A folder was opened with its password.
    UnlockFolderPayload {
        /// The folder, with what lies in it.
        folder: Option<FolderNode>,
        /// Opens the folder in the header `X-Unlock-Token`, for whoever gave the password and nobody else.
        unlock_token: Option<String>,
        /// When the token ends, or earlier when the folder gets another password.
        expires_at: Option<DateTime<Utc>>,
    }
);

/// A folder and its new password.
#[derive(InputObject)]
pub(super) struct SetFolderPasswordInput {
    /// The folder.
    id: ID,
    /// From 1 to 1,024 bytes; null takes the password away.
    password: MaybeUndefined<String>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A folder and its password.
#[derive(InputObject)]
pub(super) struct UnlockFolderInput {
    /// The folder.
    id: ID,
    /// Its password.
    password: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// The folder as somebody sees it.
async fn folder(session: &Arc<Session>, board: BoardId, id: NodeId) -> Result<Option<FolderNode>> {
    let Some(scope) = session.board(board).await? else { return Ok(None) };
    let node = scope.loaders().node(&scope.board, id).await?;
    Ok(node.map(|node| FolderNode::new(&scope, &node)))
}

#[derive(Default)]
pub(super) struct FolderLockMutations;

/// Mutations of folders with a password.
#[Object]
impl FolderLockMutations {
    /// Gives a folder a password, another one, or takes it away. What lies in the folder, at any depth, is then seen only by
    /// the owner of the board, by whoever set the password, and by those who open it with `unlockFolder`. To all others it is
    /// not there: not in lists, not by id, not in counts, links or events. They can neither change the password nor delete
    /// the folder.
    async fn set_folder_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The folder and its new password.")] input: SetFolderPasswordInput,
    ) -> Result<SetFolderPasswordPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let set = async {
            let id: NodeId = read_id("id", &input.id)?;
            let board_id = board_of(&writing.session, "id", id).await??;
            let password_hash = match input.password {
                MaybeUndefined::Undefined => {
                    return Err(Refusal::invalid("password", "Give a password, or null to take it away").into());
                }
                MaybeUndefined::Null => None,
                MaybeUndefined::Value(password) => {
                    Some(writing.session.services.folder_password_hash(&SecretString::from(password)).await?)
                }
            };
            let changes = vec![change(&[], Action::LockFolder { id, password_hash })];
            Ok((id, ChangeSet { board_id, absent: no_node("id", id), expected_version: None, changes }))
        };
        let outcome: Outcome<(NodeId, ChangeSet)> = set.await;
        let outcome = match writing.settled(outcome).await? {
            Ok((id, set)) => writing.apply(Ok(set)).await?.map(|done| (id, done)),
            Err(error) => Err(error),
        };
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok((_, done)) => {
                let node = done.nodes().await?.into_iter().next();
                let folder = node.and_then(|node| match node {
                    BoardNode::Folder(folder) => Some(folder),
                    _ => None,
                });
                SetFolderPasswordPayload { folder, board: done.board(), client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => {
                SetFolderPasswordPayload { folder: None, board: None, client_mutation_id, user_errors: vec![error] }
            }
        })
    }

    /// Opens a folder with its password for half an hour: for whoever asks here, with the token of the answer in the header
    /// `X-Unlock-Token`. Ten wrong passwords from one address, and it has to wait.
    async fn unlock_folder(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The folder and its password.")] input: UnlockFolderInput,
    ) -> Result<UnlockFolderPayload> {
        let options = WriteOptions { client_mutation_id: input.client_mutation_id, idempotency_key: None };
        let writing = Writing::begin(ctx, options)?;
        let Session { services, viewer, address, .. } = &*writing.session;
        let unlocked = async {
            let id: NodeId = read_id("id", &input.id)?;
            let board = board_of(&writing.session, "id", id).await??;
            let password = SecretString::from(input.password);
            let unlocked = services.unlock_folder(viewer, (board, id), &password, *address).await?;
            Ok((board, id, unlocked))
        };
        let outcome: Outcome<_> = unlocked.await;
        let outcome: Result<_, UserError> = writing.settled(outcome).await?;
        let session = writing.afterwards();
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok((board, id, unlocked)) => {
                let session = Arc::new(Session { viewer: unlocked.viewer, ..Session::clone(&session) });
                UnlockFolderPayload {
                    folder: folder(&session, board, id).await?,
                    unlock_token: Some(unlocked.token.expose_secret().to_owned()),
                    expires_at: Some(unlocked.expires_at),
                    client_mutation_id,
                    user_errors: Vec::new(),
                }
            }
            Err(error) => UnlockFolderPayload {
                folder: None,
                unlock_token: None,
                expires_at: None,
                client_mutation_id,
                user_errors: vec![error],
            },
        })
    }
}
