//! `ragboard healthcheck`: asks the server at the listen address whether it is ready. For containers, which have no curl.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Failure;
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    let mut address = config.http.address;
    if address.ip().is_unspecified() {
        let ip = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(ip);
    }
    let status = timeout(PATIENCE, status_line(address))
        .await
        .map_err(|_| Failure::new(format!("{address} did not answer within {} s", PATIENCE.as_secs())))?
        .map_err(Failure::while_doing(format!("ask {address}")))?;
    if status.contains(" 200 ") { Ok(()) } else { Err(Failure::new(format!("{address} is not ready: {status}"))) }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await?;
    answer.truncate(read);
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
