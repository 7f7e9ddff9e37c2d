//! Mutations of passwords.

use async_graphql::{Context, InputObject, Object, Result};
use secrecy::SecretString;

use super::{
    super::scope::Session,
    Writing,
    account::without_key,
    payload::{Refused, payload},
};

payload!(
    /// The password of the viewer's account was changed.
    ChangePasswordPayload {
        /// Whether it was.
        is_changed: bool,
    }
);
payload!(
    /// A mail was asked for.
    RequestPasswordResetPayload {
        /// Whether the request was taken; also where there is no account with the address.
        is_requested: bool,
    }
);
payload!(
    /// A password was set.
    ResetPasswordPayload {
        /// Whether it was.
        is_reset: bool,
    }
);

/// The password of the viewer's account, and the next one.
#[derive(InputObject)]
pub(super) struct ChangePasswordInput {
    /// The password as it is.
    #[graphql(secret)]
    current_password: String,
    /// At least 10 characters, at most 1,024 bytes.
    #[graphql(secret)]
    new_password: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// An account whose password is not known any more.
#[derive(InputObject)]
pub(super) struct RequestPasswordResetInput {
    /// The address of the account.
    email: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// A token that was sent by mail, and the next password.
#[derive(InputObject)]
pub(super) struct ResetPasswordInput {
    /// What stands behind `#token=` in the link. Good once, for 30 minutes.
    #[graphql(secret)]
    token: String,
    /// At least 10 characters, at most 1,024 bytes.
    #[graphql(secret)]
    new_password: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

#[derive(Default)]
pub(super) struct PasswordMutations;

/// Mutations of passwords.
#[Object]
impl PasswordMutations {
    /// Changes the password of the viewer's account, and ends all its other sessions. After some wrong passwords each further
    /// attempt has to wait: RATE_LIMITED, whose message names the seconds.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Both passwords.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let (current, new) = (SecretString::from(input.current_password), SecretString::from(input.new_password));
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.change_password(viewer, &current, &new, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => ChangePasswordPayload { is_changed: true, client_mutation_id, user_errors: Vec::new() },
            Err(error) => ChangePasswordPayload::refused(client_mutation_id, error),
        })
    }

    /// Sends a mail by which to set a new password, if there is an account with this address. The answer is the same if there is
    /// none, and when five mails were sent within the hour and one of their links is good.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: RequestPasswordResetInput,
    ) -> Result<RequestPasswordResetPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = services.request_password_reset(viewer, &input.email, *address, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => RequestPasswordResetPayload { is_requested: true, client_mutation_id, user_errors: Vec::new() },
            Err(error) => RequestPasswordResetPayload::refused(client_mutation_id, error),
        })
    }

    /// Sets the password of the account that the token was sent to. All its sessions end, and its address is verified. If it was
    /// not verified before, its API keys end as well. It signs nobody in: `signIn` does, with the new password.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token and the password.")] input: ResetPasswordInput,
    ) -> Result<ResetPasswordPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let (token, new) = (SecretString::from(input.token), SecretString::from(input.new_password));
        let Session { services, viewer, address, .. } = &*writing.session;
        let outcome = services.reset_password(viewer, &token, &new, *address, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => ResetPasswordPayload { is_reset: true, client_mutation_id, user_errors: Vec::new() },
            Err(error) => ResetPasswordPayload::refused(client_mutation_id, error),
        })
    }
}
