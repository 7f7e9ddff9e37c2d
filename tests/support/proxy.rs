//! A way to a TCP server that can be closed: refused connections, cut ones, and those that nobody answers any more, without
//! touching the server.

use std::{
    net::SocketAddr,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
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
    /// Nothing moves, as while a container is paused: what is said is delivered later.
    Paused,
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
    /// Connections up to this number that said one of these words at their beginning are half open: never answered again.
    held: watch::Sender<(usize, Vec<String>)>,
    number: Arc<AtomicUsize>,
    at_commit: Arc<Mutex<Option<AtCommit>>>,
}

/// One connection that goes along the way.
struct Along {
    number: usize,
    way: watch::Receiver<Way>,
    severed: watch::Receiver<(usize, usize)>,
    held: watch::Receiver<(usize, Vec<String>)>,
    at_commit: Arc<Mutex<Option<AtCommit>>>,
}

impl Along {
    /// Waits while nothing moves.
    async fn moving(&self) {
        let _ = self.way.clone().wait_for(|way| *way != Way::Paused).await;
    }

    /// Waits until the connection, which began with these bytes, is half open.
    async fn held(&self, beginning: &Mutex<Vec<u8>>) {
        let is_held = |(last, words): &(usize, Vec<String>)| {
            let beginning = beginning.lock().unwrap();
            let says = |word: &String| beginning.windows(word.len().max(1)).any(|bytes| bytes == word.as_bytes());
            self.number <= *last && words.iter().any(|word| word.is_empty() || says(word))
        };
        if self.held.clone().wait_for(is_held).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Proxy {
    /// Opens a way to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            way: watch::Sender::new(Way::Open),
            severed: watch::Sender::new((0, 1)),
            held: watch::Sender::default(),
            number: Arc::default(),
            at_commit: Arc::default(),
        };
        let (way, severed, held) = (proxy.way.subscribe(), proxy.severed.subscribe(), proxy.held.subscribe());
        let (at_commit, last) = (Arc::clone(&proxy.at_commit), Arc::clone(&proxy.number));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if matches!(*way.borrow(), Way::Open | Way::Paused) {
                    let number = last.fetch_add(1, Ordering::SeqCst) + 1;
                    let (way, severed, held) = (way.clone(), severed.clone(), held.clone());
                    let at_commit = Arc::clone(&at_commit);
                    tokio::spawn(forward(client, target, Along { number, way, severed, held, at_commit }));
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

    /// Stops everything that moves, connections that are made meanwhile too, until the way is open again.
    pub(crate) fn pause(&self) {
        self.way.send_replace(Way::Paused);
    }

    /// Leaves the connections half open that exist now and said one of these words at their beginning (an empty one: all): what
    /// is said on them is taken, and nothing is ever answered. New ones work.
    pub(crate) fn hold(&self, words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.held.send_replace((self.number.load(Ordering::SeqCst), words));
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

async fn forward(mut client: TcpStream, target: SocketAddr, along: Along) {
    along.moving().await;
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let beginning = Mutex::new(Vec::new());
    let (going, said) = (&along, &beginning);
    let up = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from_client.read(&mut bytes).await?;
            let bytes = &bytes[..read];
            going.moving().await;
            if read == 0 {
                return to_server.shutdown().await;
            }
            if said.lock().unwrap().len() < 1024 {
                said.lock().unwrap().extend_from_slice(bytes);
            }
            // A short message that comes in one piece.
            let is_commit = bytes.windows(6).any(|word| word == b"COMMIT");
            let what = if is_commit { going.at_commit.lock().unwrap().take() } else { None };
            if what != Some(AtCommit::LoseRequest) {
                to_server.write_all(bytes).await?;
            }
            if what.is_some() {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut bytes).await?;
            going.moving().await;
            if read == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    let mut severances = along.severed.clone();
    let severed = async {
        severances.mark_unchanged();
        while severances.changed().await.is_ok() {
            let (which, one_of) = *severances.borrow_and_update();
            if going.number % one_of == which {
                return;
            }
        }
        std::future::pending().await
    };
    let mut way = along.way.clone();
    let is_held = tokio::select! {
        _ = async { tokio::try_join!(up, down) } => false,
        () = severed => false,
        () = going.held(said) => true,
        _ = way.wait_for(|way| *way == Way::Cut) => false,
    };
    if is_held {
        // Taken and never answered; the server's half stays open as well.
        let mut bytes = vec![0; 16 << 10];
        while from_client.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    }
}
