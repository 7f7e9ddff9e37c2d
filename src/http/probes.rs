//! `/livez`, `/readyz` and `/metrics`: for those who run the program. What there is to know comes from a [`Probe`].

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::seldom::Seldom;
use crate::domain::Result;

/// Anybody may probe, as often as he likes, and an outage lasts.
static NOT_READY: Mutex<Seldom> = Mutex::new(Seldom::new());

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

/// `/livez` and `/readyz`.
pub(super) fn health<S: Clone + Send + Sync + 'static>(probe: Arc<dyn Probe>) -> Router<S> {
    Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(move || async move { ready(probe.as_ref()).await }))
}

/// `/metrics`.
pub(super) fn metrics<S: Clone + Send + Sync + 'static>(probe: Arc<dyn Probe>) -> Router<S> {
    Router::new().route("/metrics", get(move || async move { exposition(probe.as_ref()) }))
}

async fn ready(probe: &dyn Probe) -> Response {
    match probe.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(error) => {
            if NOT_READY.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
                tracing::warn!(cause = ?error.cause(), "Not ready: {error}");
            }
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")).into_response()
        }
    }
}

/// The text format of Prometheus, version 0.0.4.
fn exposition(probe: &dyn Probe) -> Response {
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::domain::{Code, Error};

    /// A program whose database is away.
    struct Away;

    #[async_trait]
    impl Probe for Away {
        async fn ready(&self) -> Result<()> {
            Err(Error::new(Code::Overloaded, "The database is away"))
        }

        fn samples(&self) -> Vec<Sample> {
            Vec::new()
        }
    }

    /// The log of a test.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_outage_has_one_line_a_minute() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _during = tracing::subscriber::set_default(subscriber);
        for _ in 0..5 {
            assert_eq!(ready(&Away).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(lines.matches("Not ready").count(), 1, "{lines}");
    }
}
