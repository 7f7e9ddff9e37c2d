//! Mutations of share links and collaborators.

use async_graphql::{Context, ID, InputObject, Object, Result};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    super::{
        board::{Board, Permission},
        scope::Session,
        sharing::{BoardShare, Collaborator, SentInvitation},
    },
    Writing,
    input::WriteOptions,
    payload::{Refused, payload},
    read_id,
};
use crate::{
    domain::{self, Failure, Outcome, Refusal},
    service::sharing::ShareTerms,
};

payload!(
    /// A share link was made.
    ShareBoardPayload {
        /// The link.
        share: Option<BoardShare>,
        /// Its token, told this once: for `sharedBoard` and the header `X-Share-Token`. Null when an earlier request under the
        /// same idempotency key made the link; if that answer was lost, revoke the link and make another.
        token: Option<String>,
    }
);
payload!(
    /// A share link was revoked.
    RevokeSharePayload {
        /// Id of the link.
        share_id: Option<ID>,
    }
);
payload!(
    /// An invitation was sent.
    InviteCollaboratorPayload {
        /// The invitation. The answer is the same whether there is an account with the address or not.
        invitation: Option<SentInvitation>,
        /// Always null: who was invited is a collaborator once they have accepted.
        collaborator: Option<Collaborator>,
    }
);
payload!(
    /// An invitation was taken back.
    CancelInvitationPayload {
        /// The address that was invited.
        email: Option<String>,
    }
);
payload!(
    /// A collaborator was changed.
    CollaboratorPayload {
        /// The collaborator.
        collaborator: Option<Collaborator>,
    }
);
payload!(
    /// An invitation was accepted.
    AcceptInvitationPayload {
        /// The board.
        board: Option<Board>,
    }
);
payload!(
    /// A collaborator is none any more.
    RemoveCollaboratorPayload {
        /// Id of the account.
        user_id: Option<ID>,
    }
);

/// A share link to be made.
#[derive(InputObject)]
pub(super) struct ShareBoardInput {
    /// The board.
    board_id: ID,
    /// What its holder may do: VIEW, COMMENT or EDIT.
    #[graphql(default_with = "Permission::View")]
    permission: Permission,
    /// What has to be given along with the token, if anything.
    #[graphql(secret)]
    password: Option<String>,
    /// How many may redeem it; any number if not given.
    max_uses: Option<i32>,
    /// When it ends by itself; never if not given.
    expires_at: Option<DateTime<Utc>>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A share link.
#[derive(InputObject)]
pub(super) struct ShareInput {
    /// The link.
    id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// Somebody to be asked to work on a board.
#[derive(InputObject)]
pub(super) struct InviteCollaboratorInput {
    /// The board.
    board_id: ID,
    /// E-mail address of who is invited. There need not be an account yet.
    email: String,
    /// What they may do, once they have accepted: VIEW, COMMENT or EDIT.
    role: Permission,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// An invitation to be taken back.
#[derive(InputObject)]
pub(super) struct CancelInvitationInput {
    /// The board.
    board_id: ID,
    /// The address that was invited.
    email: String,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// An invitation to be accepted.
#[derive(InputObject)]
pub(super) struct AcceptInvitationInput {
    /// The board.
    board_id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A collaborator and another role.
#[derive(InputObject)]
pub(super) struct ChangeCollaboratorRoleInput {
    /// The board.
    board_id: ID,
    /// The account.
    user_id: ID,
    /// VIEW, COMMENT or EDIT.
    role: Permission,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// A collaborator.
#[derive(InputObject)]
pub(super) struct RemoveCollaboratorInput {
    /// The board.
    board_id: ID,
    /// The account.
    user_id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

impl Writing {
    async fn collaborator(self, outcome: Outcome<domain::Collaborator>) -> Result<CollaboratorPayload> {
        let outcome = self.settled(outcome).await?;
        let session = self.afterwards();
        let client_mutation_id = self.client_mutation_id;
        Ok(match outcome {
            Ok(collaborator) => {
                let collaborator = Some(Collaborator { session, collaborator });
                CollaboratorPayload { collaborator, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => CollaboratorPayload::refused(client_mutation_id, error),
        })
    }
}

#[derive(Default)]
pub(super) struct SharingMutations;

/// Mutations of share links and collaborators.
#[Object]
impl SharingMutations {
    /// Makes a share link of a board; for its owner.
    async fn share_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and the terms of the link.")] input: ShareBoardInput,
    ) -> Result<ShareBoardPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let terms = ShareTerms {
            permission: input.permission.into(),
            password: input.password.map(SecretString::from),
            max_uses: input.max_uses,
            expires_at: input.expires_at,
        };
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("boardId", &input.board_id) {
            Ok(board) => services.share_board(viewer, board, terms, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok((share, token)) => {
                let token = token.map(|token| token.expose_secret().to_owned());
                let share = Some(BoardShare(share));
                ShareBoardPayload { share, token, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => ShareBoardPayload::refused(client_mutation_id, error),
        })
    }

    /// Ends a share link, for everybody and at once; for the owner of the board.
    async fn revoke_share(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link.")] input: ShareInput,
    ) -> Result<RevokeSharePayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("id", &input.id) {
            Ok(share) => services.revoke_share(viewer, share, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(_) => RevokeSharePayload { share_id: Some(input.id), client_mutation_id, user_errors: Vec::new() },
            Err(error) => RevokeSharePayload::refused(client_mutation_id, error),
        })
    }

    /// Asks whoever has an e-mail address to work on a board; for its owner. The answer is the same whether there is an account
    /// with the address or not; they see the invitation in `Viewer.invitations` once they have signed in, and are a collaborator
    /// once they have accepted. Some invitations an hour: RATE_LIMITED.
    async fn invite_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and whom to ask.")] input: InviteCollaboratorInput,
    ) -> Result<InviteCollaboratorPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = match read_id("boardId", &input.board_id) {
            Ok(board) => {
                let to = (input.email.as_str(), input.role.into());
                services.invite(viewer, board, to, *address, writing.options.clone()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(invitation) => InviteCollaboratorPayload {
                invitation: Some(SentInvitation(invitation)),
                collaborator: None,
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => InviteCollaboratorPayload::refused(client_mutation_id, error),
        })
    }

    /// Takes an invitation back that nobody has answered; for the owner of the board.
    async fn cancel_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board, and the address that was invited.")] input: CancelInvitationInput,
    ) -> Result<CancelInvitationPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("boardId", &input.board_id) {
            Ok(board) => services.cancel_invitation(viewer, board, &input.email, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => CancelInvitationPayload { email: Some(input.email), client_mutation_id, user_errors: Vec::new() },
            Err(error) => CancelInvitationPayload::refused(client_mutation_id, error),
        })
    }

    /// Accepts the viewer's invitation to a board. The e-mail address of the account must be verified.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The board.")] input: AcceptInvitationInput,
    ) -> Result<AcceptInvitationPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("boardId", &input.board_id) {
            Ok(board) => services.accept_invitation(viewer, board, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let session = writing.afterwards();
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(record) => {
                let board = session.enter(&record).map(Board);
                AcceptInvitationPayload { board, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => AcceptInvitationPayload::refused(client_mutation_id, error),
        })
    }

    /// Gives a collaborator another role; for the owner of the board.
    async fn change_collaborator_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who, and as what.")] input: ChangeCollaboratorRoleInput,
    ) -> Result<CollaboratorPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let ids = || Ok::<_, Refusal>((read_id("boardId", &input.board_id)?, read_id("userId", &input.user_id)?));
        let outcome = match ids() {
            Ok((board, user)) => {
                let options = writing.options.clone();
                services.change_role(viewer, board, user, input.role.into(), options).await
            }
            Err(refusal) => Err(Failure::Refused(refusal)),
        };
        writing.collaborator(outcome).await
    }

    /// Takes a collaborator's rights away: for the owner of the board, and for collaborators themselves, who leave or decline.
    async fn remove_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who.")] input: RemoveCollaboratorInput,
    ) -> Result<RemoveCollaboratorPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let ids = || Ok::<_, Refusal>((read_id("boardId", &input.board_id)?, read_id("userId", &input.user_id)?));
        let outcome = match ids() {
            Ok((board, user)) => services.remove_collaborator(viewer, board, user, writing.options.clone()).await,
            Err(refusal) => Err(Failure::Refused(refusal)),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => {
                let user_id = Some(input.user_id);
                RemoveCollaboratorPayload { user_id, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => RemoveCollaboratorPayload::refused(client_mutation_id, error),
        })
    }
}
