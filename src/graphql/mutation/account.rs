//! Mutations of accounts and sessions.

use async_graphql::{Context, InputObject, MaybeUndefined, Object, Result};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    super::{scalar::Url, scope::Session, user::User},
    Writing,
    input::{WriteOptions, given, set_or_clear},
    payload::{Refused, payload},
};
use crate::{
    access::Viewer,
    domain::{self, AccountEdit, Outcome},
    service::account::SignedIn,
};

payload!(
    /// Somebody has signed in.
    SessionPayload {
        /// For the header `Authorization: Bearer …`, good for a quarter of an hour.
        access_token: Option<String>,
        /// For the next pair of tokens. It is exchanged once; within 30 seconds it may come again. It ends when it was not
        /// used for 30 days.
        refresh_token: Option<String>,
        /// When the access token ends.
        expires_at: Option<DateTime<Utc>>,
        /// The account.
        user: Option<User>,
        /// Told at sign-ins: keep it on the device, beyond the end of the session, and present it at the next sign-in. Guesses of
        /// others then never make this device wait. It opens nothing by itself.
        device_token: Option<String>,
    }
);
payload!(
    /// A session was ended.
    SignOutPayload {
        /// Whether it is over now; also when it was before.
        is_signed_out: bool,
    }
);
payload!(
    /// The viewer's account was changed.
    UpdateViewerPayload {
        /// The account.
        user: Option<User>,
    }
);

/// An account to be made.
#[derive(InputObject)]
pub(super) struct SignUpInput {
    /// The name to sign in with.
    email: String,
    /// At least 10 characters, at most 1,024 bytes.
    #[graphql(secret)]
    password: String,
    /// Display name.
    name: Option<String>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// What somebody signs in with.
#[derive(InputObject)]
pub(super) struct SignInInput {
    /// The address of the account.
    email: String,
    /// Its password.
    #[graphql(secret)]
    password: String,
    /// What the last sign-in on this device has told.
    #[graphql(secret)]
    device_token: Option<String>,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// A session.
#[derive(InputObject)]
pub(super) struct SessionInput {
    /// Its last refresh token.
    #[graphql(secret)]
    refresh_token: String,
    /// Comes back in the payload.
    client_mutation_id: Option<String>,
}

/// What is to be changed of the viewer's account. What is not given stays.
#[derive(InputObject)]
pub(super) struct UpdateViewerInput {
    #[graphql(flatten)]
    edit: AccountParts,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// The parts of an account that its holder may change.
#[derive(InputObject)]
pub(super) struct AccountParts {
    /// Display name.
    name: MaybeUndefined<String>,
    /// Address of a picture.
    avatar_url: MaybeUndefined<Url>,
    /// Preferences of the frontend: an object of at most 64 KiB.
    settings: Option<Value>,
}

impl AccountEdit for AccountParts {
    fn fields(&self) -> Vec<&'static str> {
        given! {
            "name" => !self.name.is_undefined(),
            "avatarUrl" => !self.avatar_url.is_undefined(),
            "settings" => self.settings.is_some(),
        }
    }

    fn apply(&self, account: &mut domain::User) {
        set_or_clear(&mut account.name, &self.name, String::clone);
        set_or_clear(&mut account.avatar_url, &self.avatar_url, |url| url.0.clone());
        if let Some(settings) = &self.settings {
            account.settings.clone_from(settings);
        }
    }
}

/// Of a mutation that takes no idempotency key: what it hands out cannot be told again, or doing it twice does no harm.
pub(super) fn without_key(client_mutation_id: Option<String>) -> WriteOptions {
    WriteOptions { client_mutation_id, idempotency_key: None }
}

impl Writing {
    async fn signed_in(self, outcome: Outcome<SignedIn>) -> Result<SessionPayload> {
        if let Some(begun) = outcome.as_ref().ok().map(|signed_in| signed_in.session) {
            let Session { services, user_agent, address, .. } = &*self.session;
            services.note_session(begun, user_agent.as_deref(), *address).await;
        }
        let outcome = self.settled(outcome).await?;
        let session = self.afterwards();
        let client_mutation_id = self.client_mutation_id;
        Ok(match outcome {
            Ok(SignedIn { user, access_token, refresh_token, expires_at, device_token, .. }) => {
                // The payload shows the account to its holder, who was nobody in particular a moment ago.
                let viewer = Viewer::account(std::sync::Arc::clone(&user)).unwrap_or_default();
                let session = std::sync::Arc::new(Session { viewer, ..Session::clone(&session) });
                SessionPayload {
                    access_token: Some(access_token.expose_secret().to_owned()),
                    refresh_token: Some(refresh_token.expose_secret().to_owned()),
                    expires_at: Some(expires_at),
                    user: Some(User::new(&session, &user)),
                    device_token: device_token.map(|token| token.expose_secret().to_owned()),
                    client_mutation_id,
                    user_errors: Vec::new(),
                }
            }
            Err(error) => SessionPayload::refused(client_mutation_id, error),
        })
    }
}

#[derive(Default)]
pub(super) struct AccountMutations;

/// Mutations of accounts and sessions.
#[Object]
impl AccountMutations {
    /// Makes an account and signs it in. The same request under the same idempotency key signs in to the account that the first
    /// one made, with tokens of its own.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: SignUpInput,
    ) -> Result<SessionPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let password = SecretString::from(input.password);
        let Session { services, viewer, address, .. } = &*writing.session;
        let options = writing.options.clone();
        let outcome = services.sign_up(viewer, &input.email, &password, input.name, *address, options).await;
        writing.signed_in(outcome).await
    }

    /// Signs in. A wrong address or password is an error with the code UNAUTHENTICATED, and does not say which of the two. After
    /// some wrong ones each further attempt has to wait longer: RATE_LIMITED, whose message names the seconds. Guesses from
    /// elsewhere do not count at an address, or on a device, that has signed in to the account within 90 days. Each sign-in is
    /// a session of its own.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Address and password.")] input: SignInInput,
    ) -> Result<SessionPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let password = SecretString::from(input.password);
        let device = input.device_token.map(SecretString::from);
        let Session { services, viewer, address, .. } = &*writing.session;
        let from = (*address, device.as_ref());
        let outcome = services.sign_in(viewer, &input.email, &password, from, writing.options.clone()).await;
        writing.signed_in(outcome).await
    }

    /// Exchanges a refresh token for the next pair of tokens. Within 30 seconds the same token may come again, from another tab
    /// or because the answer was lost: it gets the same refresh token and a fresh access token. One that comes later ends the
    /// session, because somebody has a copy of it.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session.")] input: SessionInput,
    ) -> Result<SessionPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let token = SecretString::from(input.refresh_token);
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.refresh_session(viewer, &token, writing.options.clone()).await;
        writing.signed_in(outcome).await
    }

    /// Ends a session: its refresh tokens are not good any more. An access token ends by itself.
    async fn sign_out(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session.")] input: SessionInput,
    ) -> Result<SignOutPayload> {
        let writing = Writing::begin(ctx, without_key(input.client_mutation_id))?;
        let token = SecretString::from(input.refresh_token);
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.sign_out(viewer, &token, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(()) => SignOutPayload { is_signed_out: true, client_mutation_id, user_errors: Vec::new() },
            Err(error) => SignOutPayload::refused(client_mutation_id, error),
        })
    }

    /// Changes the viewer's own account.
    async fn update_viewer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to be changed.")] input: UpdateViewerInput,
    ) -> Result<UpdateViewerPayload> {
        let UpdateViewerInput { options, edit } = input;
        let writing = Writing::begin(ctx, options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.update_account(viewer, &edit, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let session = writing.afterwards();
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(user) => {
                let user = Some(User::new(&session, &user));
                UpdateViewerPayload { user, client_mutation_id, user_errors: Vec::new() }
            }
            Err(error) => UpdateViewerPayload::refused(client_mutation_id, error),
        })
    }
}
