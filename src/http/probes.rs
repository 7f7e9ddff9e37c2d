//! `/livez`, `/readyz` and `/metrics`: for those who run the program. What there is to know comes from a [`Probe`].

use std::{fmt::Write, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Gateway;
use crate::domain::Result;

/// One number of the metrics.
pub struct Sample {
    /// Name, with its unit.
    pub name: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Labels and their values, where there are some; the values are names from the source.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The number.
    pub value: f64,
}

/// Health and metrics of what lies below.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Whether requests can be answered.
    async fn ready(&self) -> Result<()>;
    /// The numbers; samples of one name stand together.
    fn samples(&self) -> Vec<Sample>;
}

pub(super) fn routes(router: Router<Arc<Gateway>>) -> Router<Arc<Gateway>> {
    router.route("/livez", get(|| async { "live\n" })).route("/readyz", get(ready))
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.probe.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(error) => {
            tracing::warn!(cause = ?error.cause(), "Not ready: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")).into_response()
        }
    }
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    exposition(gateway.probe.as_ref())
}

/// The text format of Prometheus, version 0.0.4.
pub(super) fn exposition(probe: &dyn Probe) -> Response {
    let mut text = String::new();
    let mut last = "";
    for Sample { name, kind, help, labels, value } in probe.samples() {
        // Writing to a string does not fail.
        if name != last {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            last = name;
        }
        let labels: Vec<String> = labels.iter().map(|(label, word)| format!("{label}=\"{word}\"")).collect();
        let _ = match labels.is_empty() {
            false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
            true => writeln!(text, "{name} {value}"),
        };
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
