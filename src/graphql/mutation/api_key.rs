//! Mutations of API keys.

use async_graphql::{Context, ID, InputObject, Object, Result};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::{
    super::{
        api_key::{ApiKey, ApiKeyEdge, ApiKeyScope},
        scope::Session,
    },
    Writing,
    input::WriteOptions,
    payload::{Refused, payload},
    read_id,
};
use crate::service::api_key::ApiKeyTerms;

payload!(
    /// An API key was made.
    CreateApiKeyPayload {
        /// The key, without its secret.
        api_key: Option<ApiKey>,
        /// The key itself, told this once: for the header `Authorization: Bearer …`. Null when an earlier request under the
        /// same idempotency key made it; if that answer was lost, revoke the key and make another.
        secret: Option<String>,
        /// The key at its place among those of the viewer, the last made first.
        edge: Option<ApiKeyEdge>,
    }
);
payload!(
    /// An API key was revoked.
    RevokeApiKeyPayload {
        /// The key, which opens nothing any more.
        api_key: Option<ApiKey>,
    }
);

/// An API key to be made.
#[derive(InputObject)]
pub(super) struct CreateApiKeyInput {
    /// What it is called, at most 255 characters: who uses it, for instance.
    name: String,
    /// What it is for, at least one. A scope includes the lower ones: READ, WRITE, ADMIN.
    scopes: Vec<ApiKeyScope>,
    /// When it ends by itself; never if not given. A key makes no key that outlives it.
    expires_at: Option<DateTime<Utc>>,
    #[graphql(flatten)]
    options: WriteOptions,
}

/// An API key.
#[derive(InputObject)]
pub(super) struct RevokeApiKeyInput {
    /// The key, `key_…`.
    id: ID,
    #[graphql(flatten)]
    options: WriteOptions,
}

#[derive(Default)]
pub(super) struct ApiKeyMutations;

/// Mutations of API keys.
#[Object]
impl ApiKeyMutations {
    /// Makes an API key, with which a program acts in the name of the viewer's account. An account has at most 100 living keys.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the key is for.")] input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let scopes = input.scopes.into_iter().map(Into::into).collect();
        let terms = ApiKeyTerms { name: input.name, scopes, expires_at: input.expires_at };
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = services.create_api_key(viewer, terms, writing.options.clone()).await;
        let outcome = writing.settled(outcome).await?;
        let session = writing.afterwards();
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok((key, secret)) => CreateApiKeyPayload {
                secret: secret.map(|secret| secret.expose_secret().to_owned()),
                edge: Some(ApiKeyEdge::of_new(&session, &key)),
                api_key: Some(ApiKey(key)),
                client_mutation_id,
                user_errors: Vec::new(),
            },
            Err(error) => CreateApiKeyPayload::refused(client_mutation_id, error),
        })
    }

    /// Revokes an API key of the viewer's account, for good: what comes with it is refused at once in the process that did it,
    /// within a second in others, and its subscriptions end.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: RevokeApiKeyInput,
    ) -> Result<RevokeApiKeyPayload> {
        let writing = Writing::begin(ctx, input.options)?;
        let Session { services, viewer, .. } = &*writing.session;
        let outcome = match read_id("id", &input.id) {
            Ok(id) => services.revoke_api_key(viewer, id, writing.options.clone()).await,
            Err(refusal) => Err(refusal.into()),
        };
        let outcome = writing.settled(outcome).await?;
        let client_mutation_id = writing.client_mutation_id;
        Ok(match outcome {
            Ok(key) => RevokeApiKeyPayload { api_key: Some(ApiKey(key)), client_mutation_id, user_errors: Vec::new() },
            Err(error) => RevokeApiKeyPayload::refused(client_mutation_id, error),
        })
    }
}
