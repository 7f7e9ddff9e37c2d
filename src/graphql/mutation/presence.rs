//! The mutation that shows where the viewer is.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::{presence::Presence, scope::Session},
    Writing,
    input::{PointInput, WriteOptions},
    payload::payload,
    read_id,
};
use crate::{
    domain::{BoardId, NodeId, Refusal},
    service::presence::Shown,
};

payload!(
    /// Where the viewer is now.
    SetPresencePayload {
        /// As others see it.
        presence: Option<Presence>,
    }
);

/// Where the viewer is on a board. It replaces what was said before: what is not given is not shown any more.
#[derive(InputObject)]
pub(super) struct SetPresenceInput {
    /// The board.
    board_id: ID,
    /// What the client calls its window, at most 64 bytes; others do not see it. Windows of one person under one name count as one.
    #[graphql(default)]
    client_id: String,
    /// Where the cursor is.
    cursor: Option<PointInput>,
    /// The nodes that are selected, at most 100.
    #[graphql(default)]
    selection: Vec<ID>,
    /// Whatever else others should know, at most 1,024 bytes as JSON.
    state: Option<serde_json::Value>,
    /// False says goodbye, so that others need not wait for 30 seconds of silence.
    #[graphql(default = true)]
    is_here: bool,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

impl SetPresenceInput {
    fn settled(&self) -> Result<(BoardId, Shown), Refusal> {
        let node = |(number, node): (usize, &ID)| read_id::<NodeId>(&format!("selection.{number}"), node);
        let shown = Shown {
            client: self.client_id.clone(),
            cursor: self.cursor.map(PointInput::xy),
            // One more than there may be tells that there are too many.
            selection: self.selection.iter().take(101).enumerate().map(node).collect::<Result<_, _>>()?,
            state: self.state.clone().filter(|state| !state.is_null()),
            is_here: self.is_here,
        };
        Ok((read_id("boardId", &self.board_id)?, shown))
    }
}

#[derive(Default)]
pub(super) struct PresenceMutations;

/// The mutation that shows where the viewer is.
#[Object]
impl PresenceMutations {
    /// Shows others where the viewer is on a board; for everybody with an account or a share link who may see it. Others hear of
    /// it at most 20 times a second, of the newest. Say it again within 30 seconds, or you are gone. It is no change of the board:
    /// it makes no version, is in no log, and takes no idempotency key.
    async fn set_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where the viewer is.")] input: SetPresenceInput,
    ) -> Result<SetPresencePayload> {
        let options = WriteOptions { client_mutation_id: input.client_mutation_id.clone(), idempotency_key: None };
        let writing = Writing::begin(ctx, options)?;
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = match input.settled() {
            Ok((board, shown)) => services.show_presence(viewer, writing.options.clone(), *address, board, shown).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let (presence, user_errors) = match outcome {
            Ok(presence) => {
                let scope = writing.session.board(presence.board_id).await?;
                (scope.map(|scope| Presence::new(&scope, presence)), Vec::new())
            }
            Err(error) => (None, vec![error]),
        };
        Ok(SetPresencePayload { presence, client_mutation_id: writing.client_mutation_id, user_errors })
    }
}
