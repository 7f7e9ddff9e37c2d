//! Mutations of what lies on a board.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::{
        board::Board,
        chat::ChatNode,
        folder::FolderNode,
        node::{BoardNode, BoardNodeEdge},
        resource::ResourceNode,
    },
    Done, Writing, board_of, change,
    input::{ChatEdit, FolderEdit, NodeParts, PlaceInput, PointInput, ResourceEdit, WriteOptions},
    no_board, no_node,
    payload::{UserError, payload},
    read_id,
};
use crate::domain::{self, Action, Change, ChangeSet, NodeEdit, NodeId, NodeType, Place, Refusal};

payload!(
    /// A node was made.
    CreateNodePayload {
        /// The node.
        node: Option<BoardNode>,
        /// The node at its place in the nodes of the board, the oldest first.
        edge: Option<BoardNodeEdge>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// A resource was changed.
    UpdateResourceNodePayload {
        /// The resource.
        node: Option<ResourceNode>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// A chat was changed.
    UpdateChatNodePayload {
        /// The chat.
        node: Option<ChatNode>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// A folder was changed.
    UpdateFolderNodePayload {
        /// The folder.
        node: Option<FolderNode>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// Several nodes were changed.
    NodesPayload {
        /// The nodes that are there now, in the order of the input.
        nodes: Vec<BoardNode>,
        /// Ids of the nodes that the input named, in its order.
        node_ids: Vec<ID>,
        /// The board afterwards.
        board: Option<Board>,
    }
);

/// A new node of one kind: where it is made, and what is given of it.
macro_rules! new_node {
    ($(#[doc = $doc:literal])+ $change:ident, $(#[doc = $input_doc:literal])+ $input:ident, $edit:ty, $type:expr) => {
        $(#[doc = $doc])+
        #[derive(InputObject)]
        pub(super) struct $change {
            /// Chosen by the client, `node_…`: the same creation again is done once. A fresh one if not given.
            pub(super) id: Option<ID>,
            /// The folder that takes it; none if not given.
            pub(super) place: Option<PlaceInput>,
            #[graphql(flatten)]
            pub(super) edit: $edit,
        }

        impl $change {
            pub(super) fn action(self) -> Result<Action, Refusal> {
                create(self.id.as_ref(), $type, Box::new(self.edit.settled()), self.place.as_ref())
            }
        }

        $(#[doc = $input_doc])+
        #[derive(InputObject)]
        pub(super) struct $input {
            /// The board.
            board_id: ID,
            #[graphql(flatten)]
            change: $change,
            #[graphql(flatten)]
            options: WriteOptions,
        }
    };
}

new_node!(
    /// A resource to be made.
    NewResourceInput,
    /// A resource to be made on a board.
    CreateResourceNodeInput,
    ResourceEdit,
    NodeType::Resource
);
new_node!(
    /// An AI chat to be made.
    NewChatInput,
    /// An AI chat to be made on a board.
    CreateChatNodeInput,
    ChatEdit,
    NodeType::Chat
);
new_node!(
    /// A folder to be made.
    NewFolderInput,
    /// A folder to be made on a board.
    CreateFolderNodeInput,
    FolderEdit,
    NodeType::Folder
);

/// What is given of a node of one kind that is there.
macro_rules! changed_node {
    ($(#[doc = $doc:literal])+ $change:ident, $(#[doc = $input_doc:literal])+ $input:ident, $edit:ty) => {
        $(#[doc = $doc])+
        #[derive(InputObject)]
        pub(super) struct $change {
            /// The node.
            pub(super) id: ID,
            /// The version of the node that the client knows; if it has another by now, nothing is done.
            pub(super) expected_version: Option<i64>,
            #[graphql(flatten)]
            pub(super) edit: $edit,
        }

        impl $change {
            pub(super) fn action(self) -> Result<Action, Refusal> {
                let id = read_id("id", &self.id)?;
                Ok(Action::EditNode { id, expected_version: self.expected_version, edit: Box::new(self.edit.settled()) })
            }
        }

        $(#[doc = $input_doc])+
        #[derive(InputObject)]
        pub(super) struct $input {
            #[graphql(flatten)]
            change: $change,
            #[graphql(flatten)]
            options: WriteOptions,
        }
    };
}

changed_node!(
    /// What is to be changed of a resource.
    ResourceChangeInput,
    /// A resource and what is to be changed of it.
    UpdateResourceNodeInput,
    ResourceEdit
);
changed_node!(
    /// What is to be changed of an AI chat.
    ChatChangeInput,
    /// An AI chat and what is to be changed of it.
    UpdateChatNodeInput,
    ChatEdit
);
changed_node!(
    /// What is to be changed of a folder.
    FolderChangeInput,
    /// A folder and what is to be changed of it.
    UpdateFolderNodeInput,
    FolderEdit
);

/// Another place on the canvas for a node.
#[derive(InputObject)]
pub(super) struct MoveInput {
    /// The node.
    id: ID,
    /// Where its left upper corner comes to lie.
    position: PointInput,
    /// The version of the node that the client knows; if it has another by now, nothing is done.
    expected_version: Option<i64>,
}

impl MoveInput {
    pub(super) fn action(&self) -> Result<Action, Refusal> {
        let edit = Box::new(NodeParts::at(self.position));
        Ok(Action::EditNode { id: read_id("id", &self.id)?, expected_version: self.expected_version, edit })
    }
}

/// Nodes to be moved on the canvas.
#[derive(InputObject)]
pub(super) struct MoveNodesInput {
    /// The board.
    board_id: ID,
    /// From 1 to 1,000 nodes and their new places.
    moves: Vec<MoveInput>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// Nodes of a board.
#[derive(InputObject)]
pub(super) struct NodesInput {
    /// The board.
    board_id: ID,
    /// From 1 to 1,000 nodes.
    node_ids: Vec<ID>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// Nodes and the folder that takes them.
#[derive(InputObject)]
pub(super) struct PlaceInFolderInput {
    /// The board.
    board_id: ID,
    /// From 1 to 1,000 nodes; they come to lie in this order.
    node_ids: Vec<ID>,
    /// Where to; out of all folders if null or not given.
    place: Option<PlaceInput>,
    #[graphql(flatten)]
    options: WriteOptions,
}

pub(super) fn create(
    id: Option<&ID>,
    node_type: NodeType,
    edit: Box<dyn NodeEdit>,
    place: Option<&PlaceInput>,
) -> Result<Action, Refusal> {
    let id = id.map_or_else(|| Ok(NodeId::generate()), |id| read_id("id", id))?;
    Ok(Action::CreateNode { id, node_type, edit, place: place.map(PlaceInput::settled).transpose()? })
}

fn set(board_id: &ID, changes: impl FnOnce() -> Result<Vec<Change>, Refusal>) -> Result<ChangeSet, Refusal> {
    let board_id = read_id("boardId", board_id)?;
    let set =
        ChangeSet { board_id, absent: no_board("boardId", board_id), expected_version: None, changes: changes()? };
    if set.changes.is_empty() {
        return Err(Refusal::invalid("nodeIds", "Name at least one node"));
    }
    Ok(set)
}

/// Nodes that come one behind the other.
pub(super) fn placed(ids: &[NodeId], place: Option<Place>) -> Vec<Action> {
    let mut at = place;
    let mut actions = Vec::with_capacity(ids.len());
    for id in ids {
        actions.push(Action::PlaceNode { id: *id, place: at });
        at = at.map(|place| Place { spot: domain::Spot::After(*id), ..place });
    }
    actions
}

impl CreateNodePayload {
    async fn of(writing: Writing, outcome: Result<Done, UserError>) -> Result<Self> {
        let client_mutation_id = writing.client_mutation_id;
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                return Ok(CreateNodePayload {
                    node: None,
                    edge: None,
                    board: None,
                    client_mutation_id,
                    user_errors: vec![error],
                });
            }
        };
        Ok(CreateNodePayload {
            node: done.nodes().await?.into_iter().next(),
            edge: done.node_edge().await?,
            board: done.board(),
            client_mutation_id,
            user_errors: Vec::new(),
        })
    }
}

impl NodesPayload {
    async fn of(writing: Writing, outcome: Result<Done, UserError>) -> Result<Self> {
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(done) => NodesPayload {
                nodes: done.nodes().await?,
                node_ids: done.applied.nodes.iter().map(super::super::scalar::id).collect(),
                board: done.board(),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => NodesPayload {
                nodes: Vec::new(),
                node_ids: Vec::new(),
                board: None,
                client_mutation_id,
                user_errors: vec![error],
            },
        })
    }
}

async fn create_node(
    ctx: &Context<'_>,
    board_id: &ID,
    action: Result<Action, Refusal>,
    options: WriteOptions,
) -> Result<CreateNodePayload> {
    let writing = Writing::begin(ctx, options)?;
    let outcome = writing.apply(set(board_id, || Ok(vec![change(&[], action?)]))).await?;
    CreateNodePayload::of(writing, outcome).await
}

async fn change_nodes(
    ctx: &Context<'_>,
    set: Result<ChangeSet, Refusal>,
    options: WriteOptions,
) -> Result<NodesPayload> {
    let writing = Writing::begin(ctx, options)?;
    let outcome = writing.apply(set).await?;
    NodesPayload::of(writing, outcome).await
}

/// Changes a node that is named without its board.
async fn change_node(
    ctx: &Context<'_>,
    id: &ID,
    action: Result<Action, Refusal>,
    options: WriteOptions,
) -> Result<(Writing, Result<Done, UserError>)> {
    let writing = Writing::begin(ctx, options)?;
    let set = match read_id("id", id) {
        Ok(id) => match board_of(&writing.session, "id", id).await? {
            Ok(board_id) => action.map(|action| ChangeSet {
                board_id,
                absent: no_node("id", id),
                expected_version: None,
                changes: vec![change(&[], action)],
            }),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    let outcome = writing.apply(set).await?;
    Ok((writing, outcome))
}

/// The payload of a change to a node of one kind.
macro_rules! updated {
    ($payload:ident, $variant:ident, $written:expr) => {{
        let (writing, outcome) = $written;
        let client_mutation_id = writing.client_mutation_id;
        match outcome {
            Ok(done) => $payload {
                node: done.nodes().await?.into_iter().find_map(|node| match node {
                    BoardNode::$variant(node) => Some(node),
                    _ => None,
                }),
                board: done.board(),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => $payload { node: None, board: None, client_mutation_id, user_errors: vec![error] },
        }
    }};
}

#[derive(Default)]
pub(super) struct NodeMutations;

/// Mutations of what lies on a board.
#[Object]
impl NodeMutations {
    /// Makes a resource.
    async fn create_resource_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and what is given of the resource.")] input: CreateResourceNodeInput,
    ) -> Result<CreateNodePayload> {
        create_node(ctx, &input.board_id, input.change.action(), input.options).await
    }

    /// Makes an AI chat.
    async fn create_chat_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and what is given of the chat.")] input: CreateChatNodeInput,
    ) -> Result<CreateNodePayload> {
        create_node(ctx, &input.board_id, input.change.action(), input.options).await
    }

    /// Makes a folder.
    async fn create_folder_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and what is given of the folder.")] input: CreateFolderNodeInput,
    ) -> Result<CreateNodePayload> {
        create_node(ctx, &input.board_id, input.change.action(), input.options).await
    }

    /// Changes a resource.
    async fn update_resource_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The resource, and what is to be changed of it.")] input: UpdateResourceNodeInput,
    ) -> Result<UpdateResourceNodePayload> {
        let id = input.change.id.clone();
        let written = change_node(ctx, &id, input.change.action(), input.options).await?;
        Ok(updated!(UpdateResourceNodePayload, Resource, written))
    }

    /// Changes an AI chat.
    async fn update_chat_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The chat, and what is to be changed of it.")] input: UpdateChatNodeInput,
    ) -> Result<UpdateChatNodePayload> {
        let id = input.change.id.clone();
        let written = change_node(ctx, &id, input.change.action(), input.options).await?;
        Ok(updated!(UpdateChatNodePayload, Chat, written))
    }

    /// Changes a folder.
    async fn update_folder_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The folder, and what is to be changed of it.")] input: UpdateFolderNodeInput,
    ) -> Result<UpdateFolderNodePayload> {
        let id = input.change.id.clone();
        let written = change_node(ctx, &id, input.change.action(), input.options).await?;
        Ok(updated!(UpdateFolderNodePayload, Folder, written))
    }

    /// Moves nodes on the canvas.
    async fn move_nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nodes and their new places.")] input: MoveNodesInput,
    ) -> Result<NodesPayload> {
        let changes = || numbered("moves", input.moves.iter().map(MoveInput::action));
        change_nodes(ctx, set(&input.board_id, changes), input.options).await
    }

    /// Deletes nodes, folders with all that is in them. They can be restored.
    async fn delete_nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nodes.")] input: NodesInput,
    ) -> Result<NodesPayload> {
        let delete = |id: &ID| Ok(Action::DeleteNode { id: read_id("nodeIds", id)?, expected_version: None });
        let changes = || numbered("nodeIds", input.node_ids.iter().map(delete));
        change_nodes(ctx, set(&input.board_id, changes), input.options).await
    }

    /// Brings deleted nodes back, folders with all that was deleted with them.
    async fn restore_nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nodes.")] input: NodesInput,
    ) -> Result<NodesPayload> {
        let restore = |id: &ID| Ok(Action::RestoreNode { id: read_id("nodeIds", id)? });
        let changes = || numbered("nodeIds", input.node_ids.iter().map(restore));
        change_nodes(ctx, set(&input.board_id, changes), input.options).await
    }

    /// Puts nodes into a folder, at another place there, or out of all folders.
    async fn place_in_folder(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nodes and the folder.")] input: PlaceInFolderInput,
    ) -> Result<NodesPayload> {
        let changes = || {
            let place = input.place.as_ref().map(PlaceInput::settled).transpose()?;
            let ids = input.node_ids.iter().map(|id| read_id("nodeIds", id)).collect::<Result<Vec<_>, _>>()?;
            Ok(placed(&ids, place).into_iter().map(|action| change(&[], action)).collect())
        };
        change_nodes(ctx, set(&input.board_id, changes), input.options).await
    }
}

/// Changes that stand in a list of the input.
fn numbered(list: &str, actions: impl Iterator<Item = Result<Action, Refusal>>) -> Result<Vec<Change>, Refusal> {
    actions
        .enumerate()
        .map(|(number, action)| {
            let path = [list.to_owned(), number.to_string()];
            let action = action.map_err(|refusal| refusal.within(&path))?;
            Ok(Change { path: path.to_vec(), action })
        })
        .collect()
}
