//! The server as seen through the API: its version, its limits, and the model by which it searches.

use async_graphql::{ComplexObject, Context, Enum, ID, Result, SimpleObject};

use super::{scalar::id, scope::Session};
use crate::{
    config,
    domain::{self, Generation, MAX_PAGE},
    service::Services,
};

/// The server that answers, and what it allows.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Service {
    /// Version of the program.
    version: String,
    /// What the server is for.
    environment: Environment,
    /// Whether it refuses mutations at the moment, with `READ_ONLY`.
    read_only: bool,
    /// What one request may ask for.
    limits: ServiceLimits,
}

#[ComplexObject]
impl Service {
    /// The vectors that are searched; null where search goes by words only. `SearchInput.vector` must come from this model.
    async fn embedding(&self, ctx: &Context<'_>) -> Result<Option<ServiceEmbedding>> {
        let generation = Session::of(ctx)?.services.generation_in_use().await?;
        Ok(generation.as_deref().map(ServiceEmbedding::of))
    }
}

/// The vectors that are searched. They change all at once, when the operator switches to another model.
#[derive(SimpleObject)]
pub(super) struct ServiceEmbedding {
    /// Their generation, as in `SearchPlan.generation`: with another one, scores are not to be compared with earlier ones.
    generation: ID,
    /// Who computes the model.
    provider: EmbeddingProvider,
    /// The model.
    model: String,
    /// Numbers in a vector.
    dimensions: i32,
}

impl ServiceEmbedding {
    fn of(generation: &Generation) -> Self {
        ServiceEmbedding {
            generation: id(generation.id),
            provider: generation.provider.into(),
            model: generation.model.clone(),
            dimensions: generation.dimensions,
        }
    }
}

/// Who computes vectors.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Provider")]
pub(super) enum EmbeddingProvider {
    /// The gateway itself.
    Local,
    /// A server that it asks.
    Http,
}

/// What one request may ask for.
#[derive(SimpleObject)]
pub(super) struct ServiceLimits {
    /// Objects on one page of a list.
    max_page_size: i32,
    /// Levels of fields below each other.
    max_depth: i32,
    /// Cost of a document: one for each field and 200 for each search, lists count the cost of an object times the page size.
    max_cost: i64,
    /// Bytes of a request body.
    max_body_bytes: i64,
    /// Seconds that answering may take.
    max_seconds: f64,
}

/// What a server is for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "config::Environment")]
pub(super) enum Environment {
    /// A developer's machine.
    Development,
    /// Tests by people and programs.
    Qa,
    /// As production, before it.
    Preprod,
    /// The real thing.
    Production,
}

impl Service {
    pub(super) fn of(services: &Services) -> Self {
        let info = services.info();
        Service {
            version: info.version.to_owned(),
            environment: info.environment.into(),
            read_only: services.is_read_only(),
            limits: ServiceLimits {
                max_page_size: MAX_PAGE as i32,
                max_depth: info.limits.max_depth as i32,
                max_cost: info.limits.max_query_cost as i64,
                max_body_bytes: info.limits.max_body_bytes as i64,
                max_seconds: info.limits.request_timeout.as_secs_f64(),
            },
        }
    }
}
