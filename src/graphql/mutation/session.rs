//! Mutations by which the holder of an account ends its sessions.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    super::scope::Session,
    Writing,
    account::without_key,
    payload::{Refused, payload},
    read_id,
};

payload!(
    /// A session was ended.
    EndSessionPayload {
        /// Id of the session.
        session_id: Option<ID>,
    }
);
payload!(
    /// Sessions were ended.
    EndOtherSessionsPayload {
        /// How many.
        ended_count: i32,
    }
);

/// A session of the viewer's account.
#[derive(InputObject)]
pub(super) struct EndSessionInput {
    /// The session, `session_…`.
    id: ID,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// A request about the sessions of the viewer's account.
#[derive(InputObject)]
pub(super) struct EndOtherSessionsInput {
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

#[derive(Default)]
pub(super) struct SessionMutations;

/// Mutations by which the holder of an account ends its sessions.
#[Object]
impl SessionMutations {
    /// Ends a session of the viewer's account, this one too: its tokens are refused, and sockets and streams that were opened with
    /// them end, within a second.
    async fn end_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session.")] input: EndSessionInput,
    ) -> Result<EndSessionPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("id", &input.id) {
            Ok(session) => services.end_session(viewer, session, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => EndSessionPayload { session_id: Some(input.id), client_mutation_id, user_errors: Vec::new() },
            Err(error) => EndSessionPayload::refused(client_mutation_id, error),
        })
    }

    /// Ends all sessions of the viewer's account but the one that asks.
    async fn end_other_sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Nothing but what every mutation takes.")] input: EndOtherSessionsInput,
    ) -> Result<EndOtherSessionsPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.end_other_sessions(viewer, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(ended) => EndOtherSessionsPayload {
                ended_count: i32::try_from(ended).unwrap_or(i32::MAX),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => EndOtherSessionsPayload::refused(client_mutation_id, error),
        })
    }
}
