//! `sslmode` against a real PostgreSQL behind a proxy that answers the request for TLS, with certificates made here.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ragboard::{
    domain::Code,
    store::tls::{Connector, connect},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
};
use tokio_postgres::{Config, config::Host};
use tokio_rustls::TlsAcceptor;

use crate::support::cluster::cluster;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// An authority, its certificate as a file, and what it signs.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key), certificate: certificate.der().clone() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server that shows a certificate for `name`.
    fn server(&self, name: &str, clients: Option<&Authority>) -> ServerConfig {
        let (certificate, key) = self.sign(name);
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots().into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

/// Stands before the real server and counts what it sees.
struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    encrypted: AtomicUsize,
    plain: AtomicUsize,
}

impl Proxy {
    /// With a configuration it agrees to TLS, without one it declines.
    async fn start(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (seen, acceptor) = (Arc::clone(&proxy.seen), tls.map(|config| TlsAcceptor::from(Arc::new(config))));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, acceptor.clone(), Arc::clone(&seen)));
            }
        });
        proxy
    }

    /// A URL that leads to the proxy under the name `host`.
    fn url(&self, host: &str, parameters: &str) -> SecretString {
        let real = real();
        let user = real.get_user().unwrap();
        let password = real.get_password().map(|password| format!(":{}", encoded(password))).unwrap_or_default();
        let (address, port) = (self.address.ip(), self.address.port());
        format!("postgres://{user}{password}@{host}:{port}/postgres?hostaddr={address}&{parameters}").into()
    }

    fn seen(&self) -> (usize, usize) {
        (self.seen.encrypted.load(Ordering::SeqCst), self.seen.plain.load(Ordering::SeqCst))
    }
}

fn real() -> Config {
    Config::from_str(cluster().url("postgres").expose_secret()).unwrap()
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn at(path: &Path) -> String {
    encoded(path.to_str().unwrap().as_bytes())
}

async fn serve(mut socket: TcpStream, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let mut first = [0; 8];
    if socket.read_exact(&mut first).await.is_err() {
        return;
    }
    if first != SSL_REQUEST {
        seen.plain.fetch_add(1, Ordering::SeqCst);
        return forward(socket, &first).await;
    }
    let answer = if tls.is_some() { b"S" } else { b"N" };
    socket.write_all(answer).await.unwrap();
    match tls {
        None => {
            // Whoever insists on TLS leaves now.
            if socket.read_exact(&mut first).await.is_ok() {
                seen.plain.fetch_add(1, Ordering::SeqCst);
                forward(socket, &first).await;
            }
        }
        Some(acceptor) => {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                // With TLS 1.3 a client may still find our certificate wanting: its first words decide.
                if stream.read_exact(&mut first).await.is_ok() {
                    seen.encrypted.fetch_add(1, Ordering::SeqCst);
                    forward(stream, &first).await;
                }
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn forward(mut client: impl Stream, first: &[u8]) {
    let real = real();
    let port = real.get_ports().first().copied().unwrap_or(5432);
    let mut server: Box<dyn Stream> = match &real.get_hosts()[0] {
        Host::Tcp(host) => Box::new(TcpStream::connect((host.as_str(), port)).await.unwrap()),
        Host::Unix(folder) => Box::new(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.unwrap()),
    };
    server.write_all(first).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// The name under which the server knows the connection.
async fn use_it(url: &SecretString) -> Result<String, String> {
    let text_of = |error: ragboard::domain::Error| {
        assert!(matches!(error.code(), Code::Overloaded | Code::Internal));
        error.cause().map(ToString::to_string).unwrap_or_default()
    };
    let (client, connection) = connect(url, "tls test").await.map_err(text_of)?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("select current_setting('application_name')", &[]).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    Ok(row.get(0))
}

async fn assert_refused(url: &SecretString, why: &str) {
    let error = use_it(url).await.unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[tokio::test]
async fn require_encrypts_and_asks_for_no_name() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let proxy = Proxy::start(Some(authority.server("elsewhere.example", None))).await;
    assert_eq!(use_it(&proxy.url("localhost", "sslmode=require")).await.as_deref(), Ok("tls test"));
    assert_eq!(proxy.seen(), (1, 0));
    // As in libpq, a named authority is asked.
    let with = |authority: &Authority| {
        proxy.url("localhost", &format!("sslmode=require&sslrootcert={}", at(&authority.file())))
    };
    assert!(use_it(&with(&authority)).await.is_ok());
    assert_refused(&with(&other), "UnknownIssuer").await;
    assert_eq!(proxy.seen(), (2, 0));
}

#[tokio::test]
async fn whoever_insists_on_tls_does_not_go_on_without() {
    let proxy = Proxy::start(None).await;
    let authority = Authority::new("one");
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = proxy.url("localhost", &format!("sslmode={mode}&sslrootcert={}", at(&authority.file())));
        assert_refused(&url, "server does not support TLS").await;
    }
    assert_eq!(proxy.seen(), (0, 0));
}

#[tokio::test]
async fn prefer_takes_what_it_gets_and_disable_nothing() {
    let plain = Proxy::start(None).await;
    for parameters in ["sslmode=prefer", "", "sslmode=disable"] {
        assert!(use_it(&plain.url("localhost", parameters)).await.is_ok(), "{parameters}");
    }
    assert_eq!(plain.seen(), (0, 3));
    let encrypted = Proxy::start(Some(Authority::new("one").server("elsewhere.example", None))).await;
    for parameters in ["sslmode=prefer", "", "sslmode=disable"] {
        assert!(use_it(&encrypted.url("localhost", parameters)).await.is_ok(), "{parameters}");
    }
    assert_eq!(encrypted.seen(), (2, 1));
}

#[tokio::test]
async fn verify_full_wants_the_right_name_from_the_right_authority() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let proxy = Proxy::start(Some(authority.server("db.example.org", None))).await;
    let url = |host: &str, authority: &Authority| {
        proxy.url(host, &format!("sslmode=verify-full&sslrootcert={}", at(&authority.file())))
    };
    assert!(use_it(&url("db.example.org", &authority)).await.is_ok());
    assert_refused(&url("localhost", &authority), "not valid for name").await;
    assert_refused(&url("127.0.0.1", &authority), "not valid for name").await;
    assert_refused(&url("db.example.org", &other), "UnknownIssuer").await;
    assert_refused(&url("db.example.org", &Authority::new("one")), "BadSignature").await;
    assert_eq!(proxy.seen(), (1, 0));
    let by_address = Proxy::start(Some(authority.server("127.0.0.1", None))).await;
    let url = by_address.url("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={}", at(&authority.file())));
    assert!(use_it(&url).await.is_ok());
}

#[tokio::test]
async fn verify_ca_takes_any_name_from_the_right_authority() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let proxy = Proxy::start(Some(authority.server("elsewhere.example", None))).await;
    let url = |authority: &Authority| {
        proxy.url("localhost", &format!("sslmode=verify-ca&sslrootcert={}", at(&authority.file())))
    };
    assert!(use_it(&url(&authority)).await.is_ok());
    assert_refused(&url(&other), "UnknownIssuer").await;
    assert_eq!(proxy.seen(), (1, 0));
}

#[tokio::test]
async fn a_client_can_show_a_certificate() {
    let authority = Authority::new("one");
    let proxy = Proxy::start(Some(authority.server("localhost", Some(&authority)))).await;
    let (certificate, key) = authority.sign("ragboard");
    let folder = tempfile::tempdir().unwrap();
    let [certificate_file, key_file] = ["client.pem", "client.key"].map(|name| folder.path().join(name));
    fs::write(&certificate_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let shown = format!("sslmode=require&sslcert={}&sslkey={}", at(&certificate_file), at(&key_file));
    assert!(use_it(&proxy.url("localhost", &shown)).await.is_ok());
    assert!(use_it(&proxy.url("localhost", "sslmode=require")).await.is_err());
    assert_eq!(proxy.seen(), (1, 0));
}

#[tokio::test]
async fn certificate_files_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "no certificate in here").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let url = format!("postgres://u@localhost/d?sslmode=verify-full&sslrootcert={}", at(&file));
        let error = Connector::new(&url.into(), "tls test", None).err().unwrap();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.cause().unwrap().to_string().starts_with(file.to_str().unwrap()), "{error:?}");
    }
}

#[tokio::test]
async fn every_connection_carries_the_statement_timeout() {
    let url = Proxy::start(None).await.url("localhost", "options=-c%20work_mem%3D5MB");
    let connector = Connector::new(&url, "tls test", Some(Duration::from_millis(90_500))).unwrap();
    let (client, connection) = connector.connect().await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one("select current_setting('statement_timeout'), current_setting('work_mem')", &[])
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("90500ms", "5MB"));
}

#[tokio::test]
async fn a_silent_server_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = |seconds: u32| format!("postgres://u@127.0.0.1:{port}/d?connect_timeout={seconds}").into();
    let (soon, late): (SecretString, SecretString) = (url(1), url(60));
    tokio::select! {
        biased;
        _ = connect(&late, "tls test") => panic!("it was to wait for minutes"),
        given_up = connect(&soon, "tls test") => assert_eq!(given_up.err().unwrap().code(), Code::Overloaded),
    }
}
