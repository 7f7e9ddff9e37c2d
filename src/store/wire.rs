//! Telling other processes which boards changed, and hearing it from them: NOTIFY and LISTEN on a connection of its own. A
//! message only wakes; what changed is in the tables. Messages that were lost are made up for by whoever looks again.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream, stream::BoxStream};
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Statement};
use uuid::Uuid;

use super::tls::Connector;
use crate::domain::{
    BoardId, Code, Error, Result,
    ports::{Heard, Wire, Wires},
};

const CHANNEL: &str = "ragboard_boards";
const LISTEN: &str = "LISTEN ragboard_boards";
/// PostgreSQL takes 7,999 bytes; an id takes 23.
const IDS_PER_MESSAGE: usize = 300;
/// More than this many ids are told as "all".
const MAX_IDS: usize = 3_000;
/// Stands for all boards.
const ALL: &str = "*";

/// Makes connections for waking.
pub struct WakeWires {
    connector: Connector,
    /// By which a process knows its own messages.
    process: String,
}

impl WakeWires {
    /// Prepares connections to the database of `url`.
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub fn new(url: &SecretString) -> Result<Self> {
        let process = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
        Ok(WakeWires { connector: Connector::new(url, "ragboard wake", None)?, process })
    }
}

fn lost(error: tokio_postgres::Error) -> Error {
    Error::caused(Code::Overloaded, "The connection that wakes other processes is lost", error)
}

#[async_trait]
impl Wires for WakeWires {
    async fn connect(&self) -> Result<(Box<dyn Wire>, BoxStream<'static, Heard>)> {
        let (client, mut connection) = self.connector.connect().await?;
        // Nobody waits for whom it wakes: what does not fit any more is made up for like what is lost.
        let (sender, receiver) = mpsc::channel(1_000);
        let own = self.process.clone();
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                let AsyncMessage::Notification(notification) = message else { continue };
                let Some((process, boards)) = notification.payload().split_once(' ') else { continue };
                if process != own && sender.try_send(heard(boards)).is_err() && sender.is_closed() {
                    return;
                }
            }
        });
        client.batch_execute(LISTEN).await.map_err(lost)?;
        let notify = client.prepare("SELECT pg_notify($1, $2)").await.map_err(lost)?;
        let heard = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
        Ok((Box::new(WakeWire { client, notify, process: self.process.clone() }), heard.boxed()))
    }
}

fn heard(boards: &str) -> Heard {
    if boards == ALL {
        return Heard::Any;
    }
    let id = |text: &str| Uuid::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok().map(BoardId);
    Heard::Boards(boards.split(',').filter_map(id).collect())
}

struct WakeWire {
    client: Client,
    notify: Statement,
    process: String,
}

#[async_trait]
impl Wire for WakeWire {
    async fn tell(&self, boards: &[BoardId]) -> Result<()> {
        let texts: Vec<String> = boards.iter().map(|id| URL_SAFE_NO_PAD.encode(id.0.as_bytes())).collect();
        let messages: Vec<String> = match boards.len() {
            0 => return Ok(()),
            1..=MAX_IDS => texts.chunks(IDS_PER_MESSAGE).map(|ids| ids.join(",")).collect(),
            _ => vec![ALL.to_owned()],
        };
        for message in messages {
            let message = format!("{} {message}", self.process);
            self.client.query_one(&self.notify, &[&CHANNEL, &message]).await.map_err(lost)?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        self.client.batch_execute("").await.map_err(lost)
    }
}
