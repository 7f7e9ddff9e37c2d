//! Outgoing HTTP against real servers on this machine, which only the allow list makes reachable.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};
use futures_util::stream;
use ragboard::{
    config::{Config, Sources},
    domain::{Code, Error, Fetched, Result},
    outbound::Outbound,
};
use rustls::{ServerConfig, crypto::ring};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use crate::support::program::free_port;

/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(120);

/// Starts a server and gives its port and how often it was asked.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let endless = || async {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024])));
        Body::from_stream(chunks)
    };
    let app = Router::new()
        .route("/headers", get(|headers: HeaderMap| async move { format!("{headers:?}") }))
        .route("/kept", get(|| async { ([("cache-control", "public, max-age=90")], "x") }))
        .route("/private", get(|| async { ([("cache-control", "max-age=90, no-store")], "x") }))
        .route(
            "/to",
            get(|Query(to): Query<Vec<(String, String)>>| async move {
                (StatusCode::FOUND, [("location", to[0].1.clone())])
            }),
        )
        .route("/circle", get(|| async { (StatusCode::FOUND, [("location", "/circle")]) }))
        .route("/compressed", get(|| async { ([("content-encoding", "gzip")], "x") }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/bytes", get(|| async { "x".repeat(1000) }))
        .route("/endless", get(endless))
        .route("/silent", get(|| async { std::future::pending::<String>().await }))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&asked), count));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (port, asked)
}

async fn count(
    State(asked): State<Arc<AtomicUsize>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> impl IntoResponse {
    asked.fetch_add(1, Ordering::SeqCst);
    next.run(request).await
}

fn outbound(allow: &str) -> Outbound {
    Outbound::new(&Config::load(&Sources::from_variables([("RAGBOARD_OUTBOUND_ALLOW", allow)])).unwrap().outbound)
}

fn cause(error: &Error) -> String {
    error.cause().map(ToString::to_string).unwrap_or_default()
}

fn assert_refused(result: Result<Fetched>, why: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "This address may not be fetched"));
    assert!(cause(&error).contains(why), "{}", cause(&error));
}

#[tokio::test]
async fn a_named_address_is_fetched() {
    let (port, _) = server().await;
    let base = format!("http://127.0.0.1:{port}");
    let outbound = outbound(&format!("127.0.0.1:{port}, localhost:{port}"));
    let fetched = outbound.get(&format!("{base}/headers"), 10_000, LONG).await.unwrap();
    let headers = String::from_utf8(fetched.body).unwrap();
    assert!(headers.contains(concat!("\"ragboard/", env!("CARGO_PKG_VERSION"), "\"")), "{headers}");
    assert!(!headers.contains("accept-encoding") && !headers.contains("cookie"), "{headers}");
    assert_eq!(fetched.max_age, None);
    for (path, max_age) in [("kept", Duration::from_secs(90)), ("private", Duration::ZERO)] {
        let fetched = outbound.get(&format!("{base}/{path}"), 10, LONG).await.unwrap();
        assert_eq!((fetched.body.as_slice(), fetched.max_age), (&b"x"[..], Some(max_age)));
    }
    assert!(outbound.get(&format!("http://localhost:{port}/kept"), 10, LONG).await.is_ok());
}

#[tokio::test]
async fn what_is_not_named_is_not_even_asked() {
    let (port, asked) = server().await;
    let strict = outbound("");
    assert_refused(strict.get(&format!("http://127.0.0.1:{port}/kept"), 10, LONG).await, "http to a host");
    assert_refused(strict.get(&format!("https://127.0.0.1:{port}/kept"), 10, LONG).await, "not global");
    assert_refused(strict.get(&format!("https://[::ffff:7f00:1]:{port}/"), 10, LONG).await, "not global");
    assert_refused(strict.get(&format!("https://localhost:{port}/kept"), 10, LONG).await, "without a global address");
    let elsewhere = outbound("127.0.0.1:1, localhost:1");
    assert_refused(elsewhere.get(&format!("https://127.0.0.1:{port}/"), 10, LONG).await, "not global");
    assert_refused(elsewhere.get(&format!("https://localhost:{port}/"), 10, LONG).await, "at another port");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_redirect_is_checked() {
    let ((port, asked), (other, other_asked)) = (server().await, server().await);
    let outbound = outbound(&format!("127.0.0.1:{port}"));
    let base = format!("http://127.0.0.1:{port}");
    let via = |to: String| format!("{base}/to?to={to}");
    assert!(outbound.get(&via(format!("{base}/kept")), 10, LONG).await.is_ok());
    assert!(outbound.get(&via("/kept".to_owned()), 10, LONG).await.is_ok());
    let forbidden = [
        (format!("http://127.0.0.1:{other}/kept"), "http to a host"),
        (format!("https://127.0.0.1:{other}/kept"), "not global"),
        (format!("https://localhost:{port}/kept"), "without a global address"),
        (format!("https://2130706433:{other}/"), "not global"),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), "not global"),
        ("ftp://example.org/".to_owned(), "neither http nor https"),
        (format!("https://user:pass@127.0.0.1:{port}/"), "credentials"),
        (via("/kept".to_owned()).replace("127.0.0.1", "127.0.0.2"), "http to a host"),
    ];
    for (to, why) in forbidden {
        assert_refused(outbound.get(&via(to.clone()), 10, LONG).await, why);
    }
    assert_eq!(other_asked.load(Ordering::SeqCst), 0);
    asked.store(0, Ordering::SeqCst);
    assert_refused(outbound.get(&format!("{base}/circle"), 10, LONG).await, "too many redirects");
    assert_eq!(asked.load(Ordering::SeqCst), 6, "the first request and five redirects");
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let (port, _) = server().await;
    let outbound = outbound(&format!("127.0.0.1:{port}"));
    let fetch = |path: &str, max_bytes, timeout| {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let outbound = outbound.clone();
        async move { outbound.get(&url, max_bytes, timeout).await.map(|fetched| fetched.body.len()).map_err(|e| e.code()) }
    };
    assert_eq!(fetch("bytes", 1000, LONG).await, Ok(1000));
    assert_eq!(fetch("bytes", 999, LONG).await, Err(Code::InvalidArgument));
    assert_eq!(fetch("endless", 100_000, LONG).await, Err(Code::InvalidArgument));
    assert_eq!(fetch("endless", usize::MAX, Duration::from_millis(100)).await, Err(Code::Timeout));
    assert_eq!(fetch("silent", 10, Duration::from_millis(100)).await, Err(Code::Timeout));
    assert_eq!(fetch("compressed", 10, LONG).await, Err(Code::Overloaded));
    assert_eq!(fetch("missing", 10, LONG).await, Err(Code::Overloaded));
}

#[tokio::test]
async fn nobody_there_is_no_fault_of_the_address() {
    let port = free_port();
    let error = outbound("127.0.0.1").get(&format!("http://127.0.0.1:{port}/?key=k1"), 10, LONG).await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded);
    assert!(!format!("{error:?}").contains("k1"), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await;
            }
        }
    });
    let error = outbound("127.0.0.1").get(&format!("https://127.0.0.1:{port}/"), 10, LONG).await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded);
    assert!(cause(&error).contains("certificate"), "{}", cause(&error));
}
