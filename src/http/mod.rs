//! The program on the network: the router and the whole stack of layers, in order.
//!
//! A request is identified (`identity.rs`), read within bounds and run (`graphql.rs`); probes and metrics (`probes.rs`) and
//! GraphiQL (`graphiql.rs`) stand beside. What a document means is not decided here.

mod follow;
mod graphiql;
mod graphql;
mod identity;
mod probes;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    routing::get,
};
use tower::ServiceBuilder;
use tower_http::{
    CompressionLevel,
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    decompression::RequestDecompressionLayer,
};

pub use graphiql::{Asset, GraphiqlPage};
pub use probes::{Probe, Sample};

use crate::{
    config::{HttpConfig, LimitsConfig},
    domain::ports::Reads,
    graphql::Api,
    service::Services,
};

/// What the handlers need.
pub struct Gateway {
    /// The schema, with its limits.
    pub api: Api,
    /// The services.
    pub services: Arc<Services>,
    /// Reads that memory may answer.
    pub reads: Arc<dyn Reads>,
    /// Reads past memory, for `Cache-Control: no-cache`.
    pub reads_past_cache: Arc<dyn Reads>,
    /// Health and metrics.
    pub probe: Arc<dyn Probe>,
    /// The GraphiQL page, if it is served.
    pub graphiql: Option<GraphiqlPage>,
    /// Addresses, origins and proxies.
    pub http: HttpConfig,
    /// Bounds of requests.
    pub limits: LimitsConfig,
}

/// The router of the program.
pub fn router(gateway: Gateway) -> Router {
    let gateway = Arc::new(gateway);
    let mut router = Router::new()
        .route("/graphql", get(graphql::get).post(graphql::post))
        .route("/graphql/ws", get(follow::socket));
    router = probes::routes(router);
    if gateway.http.metrics_address.is_none() {
        router = router.route("/metrics", get(probes::metrics));
    }
    if gateway.graphiql.is_some() {
        router = graphiql::routes(router);
    }
    let layers = ServiceBuilder::new()
        .layer(cors(&gateway.http))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        // Bodies are bounded after they are decompressed, in graphql.rs.
        .layer(RequestDecompressionLayer::new());
    router.layer(layers).with_state(gateway)
}

/// The router of the address that is for metrics only.
pub fn metrics_router(probe: Arc<dyn Probe>) -> Router {
    Router::new().route("/metrics", get(move || async move { probes::exposition(probe.as_ref()) }))
}

/// Browsers of these origins, and of no others, may use the API.
fn cors(config: &HttpConfig) -> CorsLayer {
    let origins: Vec<HeaderValue> = config.allowed_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            HeaderName::from_static(identity::SHARE_TOKEN),
            HeaderName::from_static(identity::SHARE_PASSWORD),
            HeaderName::from_static(identity::UNLOCK_TOKEN),
        ])
        .max_age(std::time::Duration::from_secs(3600))
}
