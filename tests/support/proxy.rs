//! A way to a TCP server that can be closed: refused connections and cut ones, without touching the server.

use std::{net::SocketAddr, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::copy_bidirectional,
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

/// The way. It ends with the runtime of the test that opened it.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Proxy {
    /// Opens a way to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), way: watch::Sender::new(Way::Open) };
        let way = proxy.way.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *way.borrow() == Way::Open {
                    tokio::spawn(forward(client, target, way.clone()));
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
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}
