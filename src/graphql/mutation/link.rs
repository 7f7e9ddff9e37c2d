//! Mutations of links.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::{
        board::Board,
        link::{Link, LinkEdge, LinkKind},
        scalar::id,
    },
    Done, Writing, change,
    input::{LinkChange, LinkParts, WriteOptions},
    no_board,
    payload::{UserError, payload},
    read_id,
};
use crate::domain::{Action, BoardId, ChangeSet, Failure, LinkId, Refusal};

payload!(
    /// A link was made or changed.
    LinkPayload {
        /// The link.
        link: Option<Link>,
        /// The link at its place in the links of the board, the oldest first.
        edge: Option<LinkEdge>,
        /// The board afterwards.
        board: Option<Board>,
    }
);
payload!(
    /// Links were removed.
    UnlinkNodesPayload {
        /// Ids of the links, in the order of the input.
        link_ids: Vec<ID>,
        /// The board afterwards.
        board: Option<Board>,
    }
);

/// A link to be made.
#[derive(InputObject)]
pub(super) struct NewLinkInput {
    /// Chosen by the client, `link_…`: the same creation again is done once. A fresh one if not given.
    id: Option<ID>,
    /// Where it starts.
    from_id: ID,
    /// Where it ends.
    to_id: ID,
    /// What it means.
    #[graphql(default_with = "LinkKind::DataFlow")]
    kind: LinkKind,
    #[graphql(flatten)]
    parts: LinkParts,
}

impl NewLinkInput {
    pub(super) fn action(self) -> Result<Action, Refusal> {
        let id = self.id.as_ref().map_or_else(|| Ok(LinkId::generate()), |id| read_id("id", id))?;
        let (from, to) = (read_id("fromId", &self.from_id)?, read_id("toId", &self.to_id)?);
        Ok(Action::CreateLink { id, from, to, kind: self.kind.into(), edit: Box::new(self.parts) })
    }
}

/// A link to be made on a board.
#[derive(InputObject)]
pub(super) struct LinkNodesInput {
    /// The board of both ends.
    board_id: ID,
    #[graphql(flatten)]
    change: NewLinkInput,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// What is to be changed of a link.
#[derive(InputObject)]
pub(super) struct LinkChangeInput {
    /// The link.
    id: ID,
    #[graphql(flatten)]
    change: LinkChange,
}

impl LinkChangeInput {
    pub(super) fn action(self) -> Result<Action, Refusal> {
        Ok(Action::EditLink { id: read_id("id", &self.id)?, edit: Box::new(self.change) })
    }
}

/// A link and what is to be changed of it.
#[derive(InputObject)]
pub(super) struct UpdateLinkInput {
    #[graphql(flatten)]
    change: LinkChangeInput,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// Links to be removed.
#[derive(InputObject)]
pub(super) struct UnlinkNodesInput {
    /// The board.
    board_id: ID,
    /// From 1 to 1,000 links.
    link_ids: Vec<ID>,
    #[graphql(flatten)]
    options: WriteOptions,
}

impl LinkPayload {
    async fn of(writing: Writing, outcome: Result<Done, UserError>) -> Result<Self> {
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(done) => LinkPayload {
                link: done.links().await?.into_iter().next(),
                edge: done.link_edge().await?,
                board: done.board(),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => {
                LinkPayload { link: None, edge: None, board: None, client_mutation_id, user_errors: vec![error] }
            }
        })
    }
}

impl Writing {
    /// The board on which a link lies, or lay when this very request was done before.
    async fn board_of_link(&self, id: LinkId) -> Result<Result<BoardId, Refusal>> {
        if let Some(board) = self.session.loaders.locate_link(id).await? {
            return Ok(Ok(board));
        }
        match self.session.services.board_of_key(&self.session.viewer, self.options.clone()).await {
            Ok(board) => Ok(board.ok_or_else(|| no_link(id))),
            Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
            Err(Failure::Failed(error)) => Err(error.into()),
        }
    }
}

fn no_link(id: LinkId) -> Refusal {
    Refusal::not_found("id", format!("There is no link {id}"))
}

#[derive(Default)]
pub(super) struct LinkMutations;

/// Mutations of links.
#[Object]
impl LinkMutations {
    /// Links two nodes of a board.
    async fn link_nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The two ends, and what is given of the link.")] input: LinkNodesInput,
    ) -> Result<LinkPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let set = || {
            let board_id = read_id("boardId", &input.board_id)?;
            let changes = vec![change(&[], input.change.action()?)];
            Ok(ChangeSet { board_id, absent: no_board("boardId", board_id), expected_version: None, changes })
        };
        let outcome = writing.apply(set()).await?;
        LinkPayload::of(writing, outcome).await
    }

    /// Changes a link.
    async fn update_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link, and what is to be changed of it.")] input: UpdateLinkInput,
    ) -> Result<LinkPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let set = match read_id::<LinkId>("id", &input.change.id) {
            Ok(id) => match writing.board_of_link(id).await? {
                Ok(board_id) => input.change.action().map(|action| ChangeSet {
                    board_id,
                    absent: no_link(id),
                    expected_version: None,
                    changes: vec![change(&[], action)],
                }),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let outcome = writing.apply(set).await?;
        LinkPayload::of(writing, outcome).await
    }

    /// Removes links for good.
    async fn unlink_nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The links.")] input: UnlinkNodesInput,
    ) -> Result<UnlinkNodesPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let mut ids = Vec::with_capacity(input.link_ids.len());
        let set = || {
            let board_id = read_id("boardId", &input.board_id)?;
            let mut changes = Vec::with_capacity(input.link_ids.len());
            for (number, link) in input.link_ids.iter().enumerate() {
                let number = number.to_string();
                let path = ["linkIds", number.as_str()];
                let id: LinkId = read_id("linkIds", link)?;
                ids.push(id);
                changes.push(change(&path, Action::DeleteLink { id }));
            }
            if changes.is_empty() {
                return Err(Refusal::invalid("linkIds", "Name at least one link"));
            }
            Ok(ChangeSet { board_id, absent: no_board("boardId", board_id), expected_version: None, changes })
        };
        let outcome = writing.apply({ set }()).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(done) => UnlinkNodesPayload {
                link_ids: ids.into_iter().map(id).collect(),
                board: done.board(),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => {
                UnlinkNodesPayload { link_ids: Vec::new(), board: None, client_mutation_id, user_errors: vec![error] }
            }
        })
    }
}
