//! A way to a TCP server that can be closed: refused connections and cut ones, without touching the server.

use std::{
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, Mutex},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections that exist go on; new ones end as soon as they are made.
    Refusing,
    /// No connection goes on.
    Cut,
}

/// What happens to the next transaction that is to be committed. Whoever wanted that sees the same: a lost connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtCommit {
    /// The server gets to know, and its answer is lost.
    LoseAnswer,
    /// The server never gets to know.
    LoseRequest,
}

/// The way. It ends with the runtime of the test that opened it.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// Connections whose number leaves this remainder by that divisor are cut off.
    severed: watch::Sender<(usize, usize)>,
    at_commit: Arc<Mutex<Option<AtCommit>>>,
}

/// One connection that goes along the way.
struct Along {
    number: usize,
    way: watch::Receiver<Way>,
    severed: watch::Receiver<(usize, usize)>,
    at_commit: Arc<Mutex<Option<AtCommit>>>,
}

impl Proxy {
    /// Opens a way to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            way: watch::Sender::new(Way::Open),
            severed: watch::Sender::new((0, 1)),
            at_commit: Arc::default(),
        };
        let (way, severed) = (proxy.way.subscribe(), proxy.severed.subscribe());
        let at_commit = Arc::clone(&proxy.at_commit);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                if *way.borrow() == Way::Open {
                    number += 1;
                    let (way, severed, at_commit) = (way.clone(), severed.clone(), Arc::clone(&at_commit));
                    tokio::spawn(forward(client, target, Along { number, way, severed, at_commit }));
                }
            }
        });
        proxy
    }

    /// Opens a way to the database of a connection string, and gives the string that leads along it.
    pub(crate) async fn to_database(url: &SecretString) -> (Proxy, SecretString) {
        let url = url.expose_secret();
        let port = tokio_postgres::Config::from_str(url).unwrap().get_ports()[0];
        let proxy = Proxy::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let along = url.replace(&format!("@127.0.0.1:{port}/"), &format!("@{}/", proxy.address));
        assert_ne!(along, url);
        (proxy, along.into())
    }

    /// Where the way begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody in any more; whoever is in stays.
    pub(crate) fn refuse(&self) {
        self.way.send_replace(Way::Refusing);
    }

    /// Ends all connections and lets nobody in.
    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Lets everybody in again.
    pub(crate) fn resume(&self) {
        self.way.send_replace(Way::Open);
    }

    /// Ends one of so many connections (1: all), in the middle of whatever they do; new ones are let in.
    pub(crate) fn sever(&self, one_of: usize, which: usize) {
        self.severed.send_replace((which % one_of, one_of));
    }

    /// Ends the next connection on which somebody commits, at that moment.
    pub(crate) fn at_commit(&self, what: AtCommit) {
        *self.at_commit.lock().unwrap() = Some(what);
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut along: Along) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from_client.read(&mut bytes).await?;
            let bytes = &bytes[..read];
            if read == 0 {
                return to_server.shutdown().await;
            }
            // A short message that comes in one piece.
            let is_commit = bytes.windows(6).any(|word| word == b"COMMIT");
            let what = if is_commit { along.at_commit.lock().unwrap().take() } else { None };
            if what != Some(AtCommit::LoseRequest) {
                to_server.write_all(bytes).await?;
            }
            if what.is_some() {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
    };
    let down = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    let severed = async {
        along.severed.mark_unchanged();
        while along.severed.changed().await.is_ok() {
            let (which, one_of) = *along.severed.borrow_and_update();
            if along.number % one_of == which {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = async { tokio::try_join!(up, down) } => {}
        () = severed => {}
        _ = along.way.wait_for(|way| *way == Way::Cut) => {}
    }
}
