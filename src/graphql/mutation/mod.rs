//! Everything that can be changed. Each mutation takes one `input` and answers with a payload: what was changed, or
//! `userErrors` that say why not. A mutation is done whole or not at all.

mod account;
mod api_key;
mod authority;
mod batch;
mod board;
mod folder_lock;
mod input;
mod job;
mod link;
mod node;
mod password;
mod payload;
mod presence;
mod session;
mod settled;
mod sharing;
mod verification;

use std::sync::Arc;

use async_graphql::{Context, MergedObject};

use self::{input::WriteOptions, payload::UserError};
use super::{
    board::Board,
    link::{Link, LinkEdge},
    node::{BoardNode, BoardNodeEdge},
    query,
    scope::{Scope, Session},
};
use crate::{
    domain::{AnyId, Change, ChangeSet, Error, Failure, NodeId, Outcome, Refusal, RefusalKind, Result},
    service::change::{self, Applied},
};

/// Everything that can be changed.
#[derive(MergedObject, Default)]
pub struct Mutation(
    account::AccountMutations,
    board::BoardMutations,
    node::NodeMutations,
    link::LinkMutations,
    batch::BatchMutations,
    sharing::SharingMutations,
    presence::PresenceMutations,
    folder_lock::FolderLockMutations,
    api_key::ApiKeyMutations,
    job::JobMutations,
    verification::VerificationMutations,
    password::PasswordMutations,
    session::SessionMutations,
);

/// Fields of inputs that hold secrets. They are no part of the digest, from which whoever reads the database could guess;
/// `Services::with_password` has requests told apart by them.
const SECRETS: &[&str] = &["password", "refreshToken", "token", "currentPassword", "newPassword"];

/// One mutation that runs: who asks, and what they said besides.
struct Writing {
    session: Arc<Session>,
    client_mutation_id: Option<String>,
    options: change::WriteOptions,
}

impl Writing {
    fn begin(ctx: &Context<'_>, options: WriteOptions) -> Result<Self> {
        let WriteOptions { client_mutation_id, idempotency_key } = options;
        let field = ctx.field();
        let undeclared = || Error::internal(format!("{} does not say what a key has to reach", field.name()));
        let authority = authority::needed(field.name()).ok_or_else(undeclared)?;
        let settled = settled::settle(ctx);
        let options = change::WriteOptions {
            client_mutation_id: client_mutation_id.clone(),
            idempotency_key,
            request: settled.digest,
            has_secret: false,
            authority,
            refusal: settled.refusal,
        };
        Ok(Writing { session: Session::of(ctx)?, client_mutation_id, options })
    }

    /// Applies changes to a board. `Err` inside is for the payload.
    async fn apply(&self, set: Result<ChangeSet, Refusal>) -> Result<Result<Done, UserError>> {
        let outcome = match set {
            Ok(set) => self.session.services.apply(&self.session.viewer, set, self.options.clone()).await,
            Err(refusal) => Err(Failure::Refused(refusal)),
        };
        self.settled(outcome.map(|applied| self.done(applied))).await
    }

    /// Divides what did not happen into what the caller can handle and what went wrong.
    async fn settled<T>(&self, outcome: Outcome<T>) -> Result<Result<T, UserError>> {
        match outcome {
            Ok(value) => Ok(Ok(value)),
            Err(Failure::Failed(error)) => Err(error),
            Err(Failure::Refused(refusal)) => {
                let current = match &refusal.kind {
                    RefusalKind::Conflict { current: Some(current), .. } => self.current(*current).await?,
                    _ => None,
                };
                Ok(Err(UserError::new(refusal, current)))
            }
        }
    }

    /// The object of a conflict, as the viewer may see it.
    async fn current(&self, id: AnyId) -> Result<Option<query::Node>> {
        query::find(&self.afterwards(), id).await
    }

    /// A session that has read nothing yet: what was read before the write may be different now.
    fn afterwards(&self) -> Arc<Session> {
        let loaders = Arc::new(self.session.loaders.anew());
        Arc::new(Session { loaders, ..Session::clone(&self.session) })
    }

    fn done(&self, applied: Applied) -> Done {
        Done { scope: self.afterwards().enter(&applied.record), applied }
    }
}

/// A board after changes, as the viewer may see it.
struct Done {
    scope: Option<Scope>,
    applied: Applied,
}

impl Done {
    fn board(&self) -> Option<Board> {
        self.scope.clone().map(Board)
    }

    /// The nodes that the changes were about and that are there now, in their order.
    async fn nodes(&self) -> Result<Vec<BoardNode>> {
        let Some(scope) = &self.scope else { return Ok(Vec::new()) };
        let read = self.applied.nodes.iter().map(|id| scope.loaders().node(&scope.board, *id));
        let nodes = futures_util::future::try_join_all(read).await?;
        Ok(nodes.iter().flatten().map(|node| BoardNode::new(scope, node)).collect())
    }

    /// The first node at its place on the board.
    async fn node_edge(&self) -> Result<Option<BoardNodeEdge>> {
        let (Some(scope), Some(id)) = (&self.scope, self.applied.nodes.first()) else { return Ok(None) };
        let node = scope.loaders().node(&scope.board, *id).await?;
        Ok(node.map(|node| BoardNodeEdge::of_board(scope, &node)))
    }

    /// The first link at its place on the board.
    async fn link_edge(&self) -> Result<Option<LinkEdge>> {
        let (Some(scope), Some(id)) = (&self.scope, self.applied.links.first()) else { return Ok(None) };
        let link = scope.loaders().link(&scope.board, *id).await?;
        Ok(link.map(|link| LinkEdge::of_board(scope, &link)))
    }

    /// The same for links.
    async fn links(&self) -> Result<Vec<Link>> {
        let Some(scope) = &self.scope else { return Ok(Vec::new()) };
        let read = self.applied.links.iter().map(|id| scope.loaders().link(&scope.board, *id));
        let links = futures_util::future::try_join_all(read).await?;
        Ok(links.iter().flatten().map(|link| Link::new(scope, link)).collect())
    }
}

/// Reads the ids of an input; a wrong one is the fault of that part of it.
fn read_id<T: std::str::FromStr<Err = crate::domain::Error>>(
    field: &str,
    id: &async_graphql::ID,
) -> Result<T, Refusal> {
    super::scalar::parse_id(id).map_err(|error| Refusal::invalid(field, error.message()))
}

/// The board on which a node lies that an input names without its board.
async fn board_of(session: &Session, field: &str, id: NodeId) -> Result<Result<crate::domain::BoardId, Refusal>> {
    let place = session.loaders.locate_node(id).await?;
    Ok(place.ok_or_else(|| no_node(field, id)))
}

fn no_node(field: &str, id: NodeId) -> Refusal {
    Refusal::not_found(field, format!("There is no node {id}"))
}

fn no_board(field: &str, id: crate::domain::BoardId) -> Refusal {
    Refusal::not_found(field, format!("There is no board {id}"))
}

fn change(path: &[&str], action: crate::domain::Action) -> Change {
    Change { path: path.iter().map(|part| (*part).to_owned()).collect(), action }
}
