//! Many changes of one board at once: one transaction, one version, one event.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result};

use super::{
    super::{board::Board, link::Link, node::BoardNode},
    Writing,
    board::BoardChangeParts,
    input::{PlaceInput, WriteOptions},
    link::{LinkChangeInput, NewLinkInput},
    no_board,
    node::{
        ChatChangeInput, FolderChangeInput, MoveInput, NewChatInput, NewFolderInput, NewResourceInput,
        ResourceChangeInput,
    },
    payload::payload,
    read_id,
};
use crate::domain::{Action, Change, ChangeSet, MAX_CHANGES, Refusal};

payload!(
    /// A board was changed.
    ApplyBoardChangesPayload {
        /// The board afterwards.
        board: Option<Board>,
        /// The nodes that the changes were about and that are there now, each once, in the order of the changes.
        nodes: Vec<BoardNode>,
        /// The same for links.
        links: Vec<Link>,
    }
);

/// One change of a board.
#[derive(OneofObject)]
pub(super) enum BoardChangeInput {
    /// Makes a resource.
    CreateResource(NewResourceInput),
    /// Makes an AI chat.
    CreateChat(NewChatInput),
    /// Makes a folder.
    CreateFolder(NewFolderInput),
    /// Changes a resource.
    UpdateResource(ResourceChangeInput),
    /// Changes an AI chat.
    UpdateChat(ChatChangeInput),
    /// Changes a folder.
    UpdateFolder(FolderChangeInput),
    /// Moves a node on the canvas.
    MoveNode(MoveInput),
    /// Puts a node into a folder, at another place there, or out of all folders.
    PlaceInFolder(PlaceNodeInput),
    /// Deletes a node, a folder with all that is in it.
    DeleteNode(NodeVersionInput),
    /// Brings a deleted node back, a folder with all that was deleted with it.
    RestoreNode(NodeInput),
    /// Links two nodes.
    Link(NewLinkInput),
    /// Changes a link.
    UpdateLink(LinkChangeInput),
    /// Removes a link for good.
    Unlink(LinkInput),
    /// Changes the board itself.
    UpdateBoard(BoardChangeParts),
}

/// A node and the folder that takes it.
#[derive(InputObject)]
pub(super) struct PlaceNodeInput {
    /// The node.
    id: ID,
    /// Where to; out of all folders if null or not given.
    place: Option<PlaceInput>,
}

/// A node, and the version of it that the client knows.
#[derive(InputObject)]
pub(super) struct NodeVersionInput {
    /// The node.
    id: ID,
    /// If the node has another version by now, nothing is done.
    expected_version: Option<i64>,
}

/// A node.
#[derive(InputObject)]
pub(super) struct NodeInput {
    /// The node.
    id: ID,
}

/// A link.
#[derive(InputObject)]
pub(super) struct LinkInput {
    /// The link.
    id: ID,
}

impl BoardChangeInput {
    fn action(self) -> (&'static str, Result<Action, Refusal>) {
        match self {
            BoardChangeInput::CreateResource(new) => ("createResource", new.action()),
            BoardChangeInput::CreateChat(new) => ("createChat", new.action()),
            BoardChangeInput::CreateFolder(new) => ("createFolder", new.action()),
            BoardChangeInput::UpdateResource(change) => ("updateResource", change.action()),
            BoardChangeInput::UpdateChat(change) => ("updateChat", change.action()),
            BoardChangeInput::UpdateFolder(change) => ("updateFolder", change.action()),
            BoardChangeInput::MoveNode(change) => ("moveNode", change.action()),
            BoardChangeInput::PlaceInFolder(PlaceNodeInput { id, place }) => {
                let action = || {
                    let place = place.as_ref().map(PlaceInput::settled).transpose()?;
                    Ok(Action::PlaceNode { id: read_id("id", &id)?, place })
                };
                ("placeInFolder", action())
            }
            BoardChangeInput::DeleteNode(NodeVersionInput { id, expected_version }) => {
                ("deleteNode", read_id("id", &id).map(|id| Action::DeleteNode { id, expected_version }))
            }
            BoardChangeInput::RestoreNode(NodeInput { id }) => {
                ("restoreNode", read_id("id", &id).map(|id| Action::RestoreNode { id }))
            }
            BoardChangeInput::Link(new) => ("link", new.action()),
            BoardChangeInput::UpdateLink(change) => ("updateLink", change.action()),
            BoardChangeInput::Unlink(LinkInput { id }) => {
                ("unlink", read_id("id", &id).map(|id| Action::DeleteLink { id }))
            }
            BoardChangeInput::UpdateBoard(edit) => ("updateBoard", Ok(Action::EditBoard { edit: Box::new(edit) })),
        }
    }
}

/// Changes of a board, in the order in which they are to be done.
#[derive(InputObject)]
pub(super) struct ApplyBoardChangesInput {
    /// The board.
    board_id: ID,
    /// From 1 to 1,000 changes; a later one may use an id that an earlier one creates.
    changes: Vec<BoardChangeInput>,
    /// The version of the board that the client knows; if it has another by now, nothing is done.
    expected_version: Option<i64>,
    #[graphql(flatten)]
    options: WriteOptions,
}

fn settled(board_id: &ID, expected_version: Option<i64>, changes: Vec<BoardChangeInput>) -> Result<ChangeSet, Refusal> {
    if !(1..=MAX_CHANGES).contains(&changes.len()) {
        return Err(Refusal::limit("changes", MAX_CHANGES as i64, format!("From 1 to {MAX_CHANGES} changes")));
    }
    let board_id = read_id("boardId", board_id)?;
    let changes = changes.into_iter().enumerate().map(|(number, change)| {
        let (name, action) = change.action();
        let path = vec!["changes".to_owned(), number.to_string(), name.to_owned()];
        match action {
            Ok(action) => Ok(Change { path, action }),
            Err(refusal) => Err(refusal.within(&path)),
        }
    });
    let absent = no_board("boardId", board_id);
    Ok(ChangeSet { board_id, absent, expected_version, changes: changes.collect::<Result<_, _>>()? })
}

#[derive(Default)]
pub(super) struct BatchMutations;

/// Many changes of one board at once.
#[Object]
impl BatchMutations {
    /// Applies up to 1,000 changes to a board: all of them, in one step of its version, or none.
    async fn apply_board_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board and its changes.")] input: ApplyBoardChangesInput,
    ) -> Result<ApplyBoardChangesPayload> {
        let ApplyBoardChangesInput { board_id, changes, expected_version, options } = input;
        let writing = Writing::begin(ctx, options)?;
        let outcome = writing.apply(settled(&board_id, expected_version, changes)).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(done) => ApplyBoardChangesPayload {
                nodes: done.nodes().await?,
                links: done.links().await?,
                board: done.board(),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => ApplyBoardChangesPayload {
                board: None,
                nodes: Vec::new(),
                links: Vec::new(),
                client_mutation_id,
                user_errors: vec![error],
            },
        })
    }
}
