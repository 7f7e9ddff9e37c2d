//! Connections to PostgreSQL, with TLS as the `sslmode` of the URL wants it.
//!
//! `disable`, `prefer` and `require` mean what they mean in libpq: the last two encrypt and do not ask who is at the other
//! end, `require` with `sslrootcert` does. `verify-ca` checks where the certificate comes from, `verify-full` also whose it
//! is. Unix sockets have no TLS. Pool and LISTEN connections are made here alike; what happens on them is not our concern.

use std::{
    error::Error as _,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    CancelToken, Client, Config, Socket,
    config::{Host, SslMode as DriverSslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    config::{DatabaseUrl, SslMode},
    domain::{Code, Error, Result},
};

const UNREACHABLE: &str = "The database cannot be reached";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request to cancel a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// The half of a connection that must be polled for the other one, the client, to make progress.
pub type Connection = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Makes connections to one URL. Cheap to clone; certificates are read once, here.
#[derive(Clone)]
pub struct Connector {
    driver: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
    quick: Option<Arc<Quick>>,
}

/// How hosts are tried where others wait for the connection.
struct Quick {
    /// Each as if it were the only one.
    hosts: Vec<Config>,
    /// Which is tried next.
    next: AtomicUsize,
    /// How long each may take for everything, also one that lets us in and then says nothing.
    each: Duration,
}

impl Connector {
    /// Prepares connections that show up as `application_name`. With a statement timeout they are for the statements of
    /// requests, and are set up for these.
    ///
    /// # Errors
    /// `Internal`, with the cause for the operator, if the URL cannot be used or a certificate file not be read.
    pub fn new(url: &SecretString, application_name: &str, statement_timeout: Option<Duration>) -> Result<Self> {
        let url = DatabaseUrl::parse(url.expose_secret()).map_err(Error::internal)?;
        let mut driver = Config::from_str(url.connection.expose_secret()).map_err(Error::internal)?;
        let local =
            !driver.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) && driver.get_hostaddrs().is_empty();
        driver.ssl_mode(match url.ssl_mode {
            _ if local => DriverSslMode::Disable,
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
        });
        driver.application_name(application_name);
        if let Some(timeout) = statement_timeout {
            let before = driver.get_options().unwrap_or_default();
            // Statements are prepared and their texts fit their shapes: planning each run anew took longer than running it.
            let settings =
                format!("-c statement_timeout={} -c plan_cache_mode=force_generic_plan", timeout.as_millis());
            driver.options(format!("{before} {settings}").trim_start().to_owned());
        }
        let each = driver.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        driver.connect_timeout(each);
        let untouched = driver.get_keepalives_idle() == Config::new().get_keepalives_idle();
        if untouched && driver.get_keepalives_interval().is_none() && driver.get_keepalives_retries().is_none() {
            driver.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
            driver.keepalives_retries(KEEPALIVE_RETRIES);
        }
        // Keepalives do not notice a peer that is gone while our own data waits for its acknowledgement.
        if driver.get_tcp_user_timeout().is_none() {
            driver.tcp_user_timeout(KEEPALIVE_IDLE);
        }
        // The driver's timeout ends with the TCP connection; a server that then stays silent is ours to give up on.
        let hosts = driver.get_hosts().len().max(driver.get_hostaddrs().len()).max(1);
        let timeout = each.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(1));
        let tls = MakeRustlsConnect::new(client_config(&url)?);
        Ok(Connector { driver, tls, timeout, quick: None })
    }

    /// The same for connections on which others wait: a host may take `each` for all of it, and half of that until it
    /// lets us in. Where the URL says what a host must be good for, the one that worked last is the first that is tried.
    #[must_use]
    pub fn quick(self, each: Duration) -> Self {
        let longest = self.driver.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT).min(each / 2);
        let number = self.driver.get_hosts().len().max(self.driver.get_hostaddrs().len()).max(1);
        let hosts: Vec<Config> = (0..number).map(|at| only(&self.driver, at, longest)).collect();
        let timeout = each.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        Connector { timeout, quick: Some(Arc::new(Quick { hosts, next: AtomicUsize::new(0), each })), ..self }
    }

    /// How long opening a connection takes at most.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.timeout
    }

    /// Cancels statements of connections that were made here.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.tls.clone())
    }

    /// Opens a connection. Nothing happens on it until the second half is polled, most simply in a task of its own.
    ///
    /// # Errors
    /// `Overloaded`, with the cause for the log, if the database cannot be reached or refuses.
    pub async fn connect(&self) -> Result<(Client, Connection)> {
        let Some(quick) = &self.quick else { return self.open(&self.driver, self.timeout).await };
        let mut refused = Error::new(Code::Overloaded, UNREACHABLE);
        for _ in &quick.hosts {
            // Whoever gives up waiting has the next one tried by whoever comes next.
            let at = quick.next.fetch_add(1, Ordering::Relaxed) % quick.hosts.len().max(1);
            let Some(host) = quick.hosts.get(at) else { break };
            match self.open(host, quick.each).await {
                Ok(opened) => {
                    // Where any host will do, their order says which is meant: those behind may lag.
                    let is_any = self.driver.get_target_session_attrs() == TargetSessionAttrs::Any;
                    quick.next.store(if is_any { 0 } else { at }, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn open(&self, driver: &Config, within: Duration) -> Result<(Client, Connection)> {
        match tokio::time::timeout(within, driver.connect(self.tls.clone())).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => {
                // The driver's error alone says "error connecting to server"; why is in its sources.
                let causes =
                    std::iter::successors(error.source(), |cause| (*cause).source()).map(|cause| format!(": {cause}"));
                Err(Error::caused(Code::Overloaded, UNREACHABLE, format!("{error}{}", causes.collect::<String>())))
            }
            Err(cause) => Err(Error::caused(Code::Overloaded, UNREACHABLE, cause)),
        }
    }
}

/// A configuration with one of its hosts.
fn only(driver: &Config, at: usize, connect_timeout: Duration) -> Config {
    let mut only = Config::new();
    match driver.get_hosts().get(at) {
        Some(Host::Tcp(name)) => {
            only.host(name);
        }
        Some(Host::Unix(path)) => {
            only.host_path(path);
        }
        None => {}
    }
    if let Some(address) = driver.get_hostaddrs().get(at) {
        only.hostaddr(*address);
    }
    if let Some(port) = driver.get_ports().get(at).or_else(|| driver.get_ports().first()) {
        only.port(*port);
    }
    if let Some(user) = driver.get_user() {
        only.user(user);
    }
    if let Some(password) = driver.get_password() {
        only.password(password);
    }
    if let Some(name) = driver.get_dbname() {
        only.dbname(name);
    }
    if let Some(options) = driver.get_options() {
        only.options(options);
    }
    if let Some(name) = driver.get_application_name() {
        only.application_name(name);
    }
    if let Some(timeout) = driver.get_tcp_user_timeout() {
        only.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = driver.get_keepalives_interval() {
        only.keepalives_interval(interval);
    }
    if let Some(retries) = driver.get_keepalives_retries() {
        only.keepalives_retries(retries);
    }
    only.connect_timeout(connect_timeout)
        .ssl_mode(driver.get_ssl_mode())
        .ssl_negotiation(driver.get_ssl_negotiation())
        .keepalives(driver.get_keepalives())
        .keepalives_idle(driver.get_keepalives_idle())
        .target_session_attrs(driver.get_target_session_attrs())
        .channel_binding(driver.get_channel_binding())
        .load_balance_hosts(driver.get_load_balance_hosts());
    only
}

/// Cancels statements. Cheap to clone.
#[derive(Clone)]
pub struct Canceller(MakeRustlsConnect);

impl Canceller {
    /// Asks the server to end what a connection works on, as far as it can be reached. Whether and when it does, is not told.
    pub async fn cancel(&self, token: &CancelToken) {
        match tokio::time::timeout(CANCEL_TIMEOUT, token.cancel_query(self.0.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "Could not ask for the end of a statement"),
            Err(_) => tracing::debug!("The server did not take the request to end a statement in time"),
        }
    }
}

/// One connection, where no second one will follow.
///
/// # Errors
/// As [`Connector::new`] and [`Connector::connect`].
pub async fn connect(url: &SecretString, application_name: &str) -> Result<(Client, Connection)> {
    Connector::new(url, application_name, None)?.connect().await
}

fn client_config(url: &DatabaseUrl) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?;
    let checks_authority = url.ssl_mode == SslMode::Require && url.root_certificates.is_some();
    let builder = match url.ssl_mode {
        SslMode::VerifyFull => builder.with_root_certificates(roots(url)?),
        mode => {
            let roots = if mode == SslMode::VerifyCa || checks_authority { Some(roots(url)?) } else { None };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyHost { roots, provider }))
        }
    };
    match &url.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
            builder.with_client_auth_cert(chain, key).map_err(Error::internal)
        }
    }
}

fn roots(url: &DatabaseUrl) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &url.root_certificates {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(unreadable(file))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::internal(
            "no trusted certificate authorities on this machine; name a file with sslrootcert",
        ));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(unreadable(file))?
        .collect::<Result<_, _>>()
        .map_err(unreadable(file))?;
    if found.is_empty() { Err(unreadable(file)("no certificates")) } else { Ok(found) }
}

fn unreadable<E: std::fmt::Display>(file: &Path) -> impl FnOnce(E) -> Error {
    move |error| Error::internal(format!("{}: {error}", file.display()))
}

/// Accepts a certificate whatever host it names: any at all, or one that leads to trusted roots. That the server holds the
/// key of its certificate is always checked.
#[derive(Debug)]
struct AnyHost {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
