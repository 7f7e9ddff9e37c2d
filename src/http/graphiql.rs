//! GraphiQL at `/` and `/graphiql`: a page, its own small script and style, and the browser files of the packages.
//!
//! With the packages fetched, the page asks no other host for anything, and its Content-Security-Policy says so. Without
//! them it loads the same files from their usual CDN, each pinned by its hash. All addresses are relative to the page, so that it works
//! behind a proxy that serves the gateway below a path.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Gateway;

const SCRIPT: &str = include_str!("graphiql.js");
const STYLE: &str = include_str!("graphiql.css");

/// A browser file of a package.
pub struct Asset {
    /// Its name in the folder, and on the page.
    pub name: &'static str,
    /// Hash of its content, for browsers that fetch it from the CDN.
    pub integrity: &'static str,
    /// Where the CDN has it.
    pub cdn_url: String,
}

/// The page and where its files come from.
pub struct GraphiqlPage {
    /// The files in the order of loading.
    pub assets: Vec<Asset>,
    /// The folder that has them; `None`: the browser fetches them from the CDN.
    pub folder: Option<PathBuf>,
}

impl GraphiqlPage {
    fn html(&self) -> String {
        let (mut styles, mut scripts) = (String::new(), String::new());
        for asset in &self.assets {
            let address = match self.folder {
                Some(_) => format!("graphiql/assets/{}", asset.name),
                None => asset.cdn_url.clone(),
            };
            let integrity = asset.integrity;
            if asset.name.ends_with(".css") {
                styles += &format!(
                    "<link rel=\"stylesheet\" href=\"{address}\" integrity=\"{integrity}\" crossorigin=\"anonymous\">\n"
                );
            } else {
                scripts += &format!(
                    "<script src=\"{address}\" integrity=\"{integrity}\" crossorigin=\"anonymous\"></script>\n"
                );
            }
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>RAGBOARD · GraphiQL</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n{styles}\
             <link rel=\"stylesheet\" href=\"graphiql/page.css\">\n</head>\n<body>\n<div id=\"graphiql\">Loading…</div>\n\
             {scripts}<script src=\"graphiql/page.js\"></script>\n</body>\n</html>\n"
        )
    }

    fn policy(&self) -> String {
        let source = if self.folder.is_some() { "'self'" } else { "'self' https://unpkg.com" };
        format!(
            "default-src 'none'; script-src {source}; style-src {source}; img-src 'self' data:; \
             font-src {source} data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }
}

pub(super) fn routes(router: Router<Arc<Gateway>>) -> Router<Arc<Gateway>> {
    router
        .route("/", get(page))
        .route("/graphiql", get(page))
        .route("/graphiql/page.js", get(|| async { served("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/graphiql/page.css", get(|| async { served("text/css; charset=utf-8", STYLE) }))
        .route("/graphiql/assets/{name}", get(asset))
}

async fn page(State(gateway): State<Arc<Gateway>>) -> Response {
    let Some(graphiql) = &gateway.graphiql else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, graphiql.policy()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, graphiql.html()).into_response()
}

async fn asset(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    // Only names of the list are looked up: what a client sends is never a path.
    let known = gateway.graphiql.as_ref().and_then(|page| {
        let asset = page.assets.iter().find(|asset| asset.name == name)?;
        Some(page.folder.as_ref()?.join(asset.name))
    });
    let Some(path) = known else { return StatusCode::NOT_FOUND.into_response() };
    let content_type =
        if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
    match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
        Ok(Ok(content)) => served(content_type, content),
        Ok(Err(error)) => {
            tracing::warn!(%error, asset = %name, "A file of GraphiQL cannot be read");
            StatusCode::NOT_FOUND.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn served(content_type: &'static str, content: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, content).into_response()
}
