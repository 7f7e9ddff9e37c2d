//! The program on the network: the router and the whole stack of layers, in order.
//!
//! Connections are accepted in `listener.rs`. What proxies say of a request is settled first (`forwarded.rs`). Then it is
//! taken in within bounds (`asked.rs`, `held_bytes.rs`), identified (`identity.rs`) and run (`graphql.rs`) in its turn
//! (`turn.rs`). Who follows comes by `socket.rs` or `follow.rs`, from pages that `origin.rs` lets in. Probes and
//! metrics (`probes.rs`) and GraphiQL (`graphiql.rs`) stand beside. What a document means is not decided here.

mod asked;
mod connection;
mod connections;
mod device;
mod follow;
mod followers;
mod forwarded;
mod graphiql;
mod graphql;
mod held_bytes;
mod identity;
mod listener;
mod origin;
mod probes;
mod seldom;
mod socket;
mod tally;
mod turn;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request},
    routing::get,
};
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_http::{CompressionLevel, compression::CompressionLayer, decompression::RequestDecompressionLayer};

pub use connections::Connections;
pub use followers::Followers;
pub use graphiql::{Asset, GraphiqlPage};
pub use listener::serve;
pub use probes::{Probe, Sample};

use self::held_bytes::HeldBytes;
use crate::{
    access::Turns,
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
    /// Turns of operations.
    pub turns: Turns,
    /// Who follows over sockets and streams.
    pub followers: Arc<Followers>,
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
        .route("/graphql", get(graphql::get).head(graphql::head).post(graphql::post))
        .route("/graphql/ws", get(socket::open));
    router = router.merge(probes::health(Arc::clone(&gateway.probe)));
    if gateway.http.metrics_address.is_none() {
        router = router.merge(probes::metrics(Arc::clone(&gateway.probe)));
    }
    if gateway.graphiql.is_some() {
        router = graphiql::routes(router);
    }
    let settled = Arc::clone(&gateway);
    let settle = move |request: Request| {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        forwarded::settle(&settled.http, peer, request)
    };
    let layers = ServiceBuilder::new()
        .layer(MapRequestLayer::new(settle))
        .layer(origin::cors(&gateway.http))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        // Bodies are bounded after they are decompressed, in asked.rs.
        .layer(RequestDecompressionLayer::new())
        .layer(Extension(HeldBytes::new(&gateway.limits)));
    router.layer(layers).with_state(gateway)
}

/// The router of the address that is for metrics and probes only.
pub fn metrics_router(probe: Arc<dyn Probe>) -> Router {
    probes::health(Arc::clone(&probe)).merge(probes::metrics(probe))
}
