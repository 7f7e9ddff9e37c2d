//! Mutations by which the holder of an account verifies its e-mail address.

use async_graphql::{Context, InputObject, Object, Result};
use secrecy::SecretString;

use super::{
    super::{scope::Session, user::User},
    Writing,
    account::without_key,
    payload::{Refused, payload},
};

payload!(
    /// The address of the viewer's account was verified.
    VerifyEmailPayload {
        /// The account.
        user: Option<User>,
    }
);
payload!(
    /// A mail was asked for.
    RequestEmailVerificationPayload {
        /// Whether it is on its way.
        is_requested: bool,
    }
);

/// A token that was sent by mail.
#[derive(InputObject)]
pub(super) struct VerifyEmailInput {
    /// What stands behind `#token=` in the link. Good once, for 24 hours.
    #[graphql(secret)]
    token: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// A request about the viewer's own account.
#[derive(InputObject)]
pub(super) struct RequestEmailVerificationInput {
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

#[derive(Default)]
pub(super) struct VerificationMutations;

/// Mutations by which the holder of an account verifies its e-mail address.
#[Object]
impl VerificationMutations {
    /// Verifies the address of the viewer's account with the token that was sent to it. The viewer must be signed in to that very
    /// account. From then on the account sees its invitations and can accept them.
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: VerifyEmailInput,
    ) -> Result<VerifyEmailPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let token = SecretString::from(input.token);
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = services.verify_email(viewer, &token, *address, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let session = writing.afterwards();
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(user) => {
                let user = Some(User::new(&session, &user));
                VerifyEmailPayload { user, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => VerifyEmailPayload::refused(client_mutation_id, error),
        })
    }

    /// Sends the viewer another mail by which to verify the address; the link of the mail before is not good any more then. At
    /// most five an hour. `signUp` sends the first by itself.
    async fn request_email_verification(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Nothing but what every mutation takes.")] input: RequestEmailVerificationInput,
    ) -> Result<RequestEmailVerificationPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = services.request_email_verification(viewer, *address, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => {
                RequestEmailVerificationPayload { is_requested: true, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => RequestEmailVerificationPayload::refused(client_mutation_id, error),
        })
    }
}
