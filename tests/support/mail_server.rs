//! A small SMTP server that keeps what it is sent, and can be told to refuse, to hold, or to want TLS and a password first.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

const DEADLINE: Duration = Duration::from_secs(60);
/// What a client has to sign in with where TLS is wanted.
pub(crate) const USER: &str = "ragboard";
pub(crate) const PASSWORD: &str = "hunter2";

/// A mail that was taken over.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Headers and text, lines ended by `\n`.
    pub(crate) data: String,
}

impl Received {
    /// The token of the link in it.
    pub(crate) fn token(&self) -> String {
        let rest = self.data.split_once("#token=").unwrap_or_else(|| panic!("no link: {}", self.data)).1;
        rest.split_whitespace().next().unwrap().to_owned()
    }
}

struct Shared {
    received: Mutex<Vec<Received>>,
    /// How many of the next mails are refused for the time being.
    refusals: AtomicU32,
    /// Whether answers are held back.
    holds: watch::Sender<bool>,
    tls: Option<TlsAcceptor>,
}

/// The server. It ends with the runtime of its test.
pub(crate) struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl MailServer {
    pub(crate) async fn start() -> MailServer {
        MailServer::start_with(None).await
    }

    /// With `tls`, mails are taken over TLS only, and only of [`USER`].
    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, refusals, holds) = (Mutex::default(), AtomicU32::new(0), watch::Sender::new(false));
        let shared = Arc::new(Shared { received, refusals, holds, tls });
        let server = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&server);
                // A client that goes away is none of the server's concern.
                tokio::spawn(async move { drop(serve(socket, shared).await) });
            }
        });
        MailServer { address, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where it is, without TLS.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Refuses so many mails, each for the time being.
    pub(crate) fn refuse(&self, mails: u32) {
        self.shared.refusals.store(mails, Ordering::SeqCst);
    }

    /// Holds all answers back from now on, or gives them.
    pub(crate) fn hold(&self, holds: bool) {
        self.shared.holds.send_replace(holds);
    }

    /// What it was sent for an address, so far.
    pub(crate) fn received(&self, to: &str) -> Vec<Received> {
        self.shared.received.lock().unwrap().iter().filter(|mail| mail.to == to).cloned().collect()
    }

    /// The mail of this number, from 1, for an address.
    pub(crate) async fn mail(&self, to: &str, number: usize) -> Received {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(mail) = self.received(to).get(number - 1) {
                return mail.clone();
            }
            assert!(Instant::now() < deadline, "mail {number} for {to} never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    socket.write_all(b"220 mail.test ESMTP\r\n").await?;
    let Some(acceptor) = shared.tls.clone() else { return converse(&mut socket, &shared, true, false).await };
    // Until TLS, nothing but the way there.
    let mut line = String::new();
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => socket.write_all(b"250-mail.test\r\n250 STARTTLS\r\n").await?,
            "STARTTLS" => break socket.write_all(b"220 go ahead\r\n").await?,
            _ => socket.write_all(b"530 STARTTLS first\r\n").await?,
        }
    }
    let mut socket = BufReader::new(acceptor.accept(socket.into_inner()).await?);
    converse(&mut socket, &shared, false, true).await
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut BufReader<S>,
    shared: &Shared,
    mut is_known: bool,
    with_password: bool,
) -> std::io::Result<()> {
    let (mut from, mut to) = (String::new(), String::new());
    let mut line = String::new();
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut held = shared.holds.subscribe();
        drop(held.wait_for(|holds| !holds).await);
        let command = line.trim_end();
        let address = || command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let upper = command.to_ascii_uppercase();
        let answer = if upper.starts_with("EHLO") && with_password {
            "250-mail.test\r\n250 AUTH PLAIN\r\n"
        } else if upper.starts_with("EHLO") {
            "250-mail.test\r\n250 8BITMIME\r\n"
        } else if let Some(credentials) = command.strip_prefix("AUTH PLAIN ") {
            is_known = BASE64_STANDARD.decode(credentials).unwrap() == format!("\0{USER}\0{PASSWORD}").as_bytes();
            if is_known { "235 welcome\r\n" } else { "535 who?\r\n" }
        } else if upper.starts_with("QUIT") {
            return socket.write_all(b"221 bye\r\n").await;
        } else if !is_known {
            "530 sign in first\r\n"
        } else if upper.starts_with("MAIL FROM:") {
            from = address();
            "250 ok\r\n"
        } else if upper.starts_with("RCPT TO:") {
            to = address();
            "250 ok\r\n"
        } else if upper == "DATA" {
            socket.write_all(b"354 go on\r\n").await?;
            let data = read_data(socket).await?;
            let refuses = shared.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if refuses.is_ok() {
                "451 not now\r\n"
            } else {
                let mail = Received { from: from.clone(), to: to.clone(), data };
                shared.received.lock().unwrap().push(mail);
                "250 taken\r\n"
            }
        } else if upper == "RSET" || upper == "NOOP" {
            "250 ok\r\n"
        } else {
            "502 no such command\r\n"
        };
        socket.write_all(answer.as_bytes()).await?;
    }
}

async fn read_data<S: AsyncRead + Unpin>(socket: &mut BufReader<S>) -> std::io::Result<String> {
    let (mut data, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text == "." {
            return Ok(data);
        }
        data += text.strip_prefix('.').unwrap_or(text);
        data.push('\n');
    }
}
