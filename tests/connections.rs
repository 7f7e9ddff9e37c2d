//! Connections: how many there may be, how long they may be quiet, and that sockets are no worse off for it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    app::{TestApp, new_database},
    cluster::TestFolder,
    program::{self, Server},
    socket::Socket,
};

const DEADLINE: Duration = Duration::from_secs(60);
const LIVEZ: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A connection from an address of this machine.
async fn from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whether a request on it is answered.
async fn is_answered(stream: &mut TcpStream) -> bool {
    if stream.write_all(LIVEZ.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"live\n") {
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DEADLINE, read).await.expect("neither answered nor closed")
}

/// Waits until the other side has closed it.
async fn closed(stream: &mut TcpStream) {
    let read = async { while stream.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {} };
    tokio::time::timeout(DEADLINE, read).await.expect("it stays open");
}

/// A frame of HTTP/2: its type and what it holds.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut body).await.unwrap();
    (head[3], body)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_ends_and_so_does_silence() {
    let app = TestApp::with(&[("RAGBOARD_HEADER_TIMEOUT", "10"), ("RAGBOARD_IDLE_TIMEOUT", "3600")]).await;
    let address = app.listen().await;
    let mut socket = Socket::open(address, json!({})).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    let half = async |half: &[u8]| {
        let mut stream = from(1, address).await;
        stream.write_all(half).await.unwrap();
        closed(&mut stream).await;
    };
    // A head in drops is no quicker than half a head, and a request before does not help.
    let drops = async |first: bool| {
        let mut stream = from(1, address).await;
        assert!(!first || is_answered(&mut stream).await);
        let deadline = Instant::now() + DEADLINE;
        while stream.write_all(b"G").await.is_ok() {
            assert!(Instant::now() < deadline, "drops keep it open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Neither does HTTP/2 without a request.
    let settled = [PREFACE, EMPTY_SETTINGS].concat();
    tokio::join!(
        half(b""),
        half(b"P"),
        half(b"PRI * HTTP/2"),
        half(b"GET /livez HTTP/1.1\r\nhost: x\r\n"),
        half(&settled),
        drops(false),
        drops(true),
    );
    // A socket is no connection that is quiet.
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends_and_one_with_a_request_does_not() {
    let app = TestApp::with(&[
        ("RAGBOARD_HEADER_TIMEOUT", "10"),
        ("RAGBOARD_IDLE_TIMEOUT", "0.3"),
        ("RAGBOARD_BODY_TIMEOUT", "3600"),
    ])
    .await;
    let address = app.listen().await;
    let mut busy = from(1, address).await;
    let head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n";
    busy.write_all(head.as_bytes()).await.unwrap();
    let mut idle = from(1, address).await;
    assert!(is_answered(&mut idle).await);
    closed(&mut idle).await;
    // The other one waits for its body all the time.
    busy.write_all(b"{\"query\":\"{ __typename }\"}").await.unwrap();
    let mut answer = [0; 12];
    busy.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_others_are_served() {
    let app = TestApp::with(&[
        ("RAGBOARD_MAX_CONNECTIONS_PER_ADDRESS", "3"),
        ("RAGBOARD_MAX_CONNECTIONS", "9"),
        ("RAGBOARD_TRUSTED_PROXIES", "127.0.0.3"),
    ])
    .await;
    let address = app.listen().await;
    // A socket is a connection like others.
    let mut socket = Socket::open(address, json!({})).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    let mut open = [from(1, address).await, from(1, address).await];
    for stream in &mut open {
        assert!(is_answered(stream).await);
    }
    assert!(!is_answered(&mut from(1, address).await).await, "the fourth is closed");
    let mut neighbour = from(2, address).await;
    assert!(is_answered(&mut neighbour).await);
    // Behind a proxy there are many clients, up to all that there may be.
    let mut proxied = Vec::new();
    for _ in 0..5 {
        let mut stream = from(3, address).await;
        assert!(is_answered(&mut stream).await);
        proxied.push(stream);
    }
    assert!(!is_answered(&mut from(3, address).await).await, "the tenth of all is closed");
    assert!(!is_answered(&mut from(2, address).await).await);
    assert!(app.app.connections().refused() >= 3);
    // What was closed is free again.
    drop((socket, proxied, neighbour));
    let deadline = Instant::now() + DEADLINE;
    while !is_answered(&mut from(1, address).await).await {
        assert!(Instant::now() < deadline, "no place became free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_alone_can_take_more_than_half() {
    let app = TestApp::with(&[("RAGBOARD_MAX_CONNECTIONS", "4")]).await;
    let address = app.listen().await;
    let mut open = [from(1, address).await, from(1, address).await];
    for stream in &mut open {
        assert!(is_answered(stream).await);
    }
    assert!(!is_answered(&mut from(1, address).await).await);
    assert!(is_answered(&mut from(2, address).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_has_bounds() {
    let app = TestApp::with(&[("RAGBOARD_HEADER_TIMEOUT", "10"), ("RAGBOARD_IDLE_TIMEOUT", "0.3")]).await;
    let address = app.listen().await;
    let mut stream = from(1, address).await;
    // GET http://x/livez, in the literal fields of HPACK.
    let mut fields = vec![0x82, 0x86, 0x04, 6];
    fields.extend(b"/livez");
    fields.extend([0x01, 1, b'x']);
    let head: [u8; 9] = [0, 0, u8::try_from(fields.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    stream.write_all(&[PREFACE, EMPTY_SETTINGS, &head[..], &fields[..]].concat()).await.unwrap();
    let (kind, settings) = frame(&mut stream).await;
    assert_eq!(kind, 4, "the settings come first");
    let of = |wanted: u16| {
        let number = |pair: &[u8]| u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
        settings.chunks(6).find(|pair| u16::from_be_bytes([pair[0], pair[1]]) == wanted).map(number)
    };
    assert_eq!((of(3), of(6)), (Some(100), Some(64 << 10)), "streams at once, and bytes of a head");
    let mut kinds = Vec::new();
    while !kinds.contains(&7) {
        let (kind, body) = tokio::time::timeout(DEADLINE, frame(&mut stream)).await.expect("no GOAWAY comes");
        assert!(kind != 0 || body.is_empty() || body == b"live\n");
        kinds.push(kind);
    }
    assert!(kinds.contains(&0), "it was answered before: {kinds:?}");
    closed(&mut stream).await;
}

/// The status of what is answered first on a connection.
async fn status(stream: &mut TcpStream) -> String {
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("no answer comes").unwrap();
    std::str::from_utf8(&answer).unwrap().trim_start_matches("HTTP/1.1 ").to_owned()
}

/// A connection on which a request with a JSON body is sent, of which no more may come than its head says.
async fn posting(last: u8, to: SocketAddr, length: usize, body: &str) -> TcpStream {
    let mut stream = from(last, to).await;
    let head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_asked_for_is_not_waited_for() {
    let app = TestApp::new().await;
    let address = app.listen().await;
    for (method, expected) in [("HEAD", "405"), ("GET", "400")] {
        let mut stream = from(1, address).await;
        let head = format!("{method} /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json");
        // It never ends.
        let beginning = "transfer-encoding: chunked\r\n\r\n1\r\n \r\n";
        stream.write_all(format!("{head}\r\n{beginning}").as_bytes()).await.unwrap();
        assert_eq!(status(&mut stream).await, expected, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_body_has_its_time() {
    let app = TestApp::with(&[("RAGBOARD_BODY_TIMEOUT", "1"), ("RAGBOARD_REQUEST_TIMEOUT", "3600")]).await;
    let address = app.listen().await;
    let mut half = posting(1, address, 100, "{\"query\":").await;
    assert_eq!(status(&mut half).await, "408");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_one_address_are_held_up_to_a_bound_and_others_are_served() {
    // An address has room for four of the largest bodies in two copies: 256 KiB.
    let app = TestApp::with(&[("RAGBOARD_MAX_BODY_BYTES", "65536"), ("RAGBOARD_MAX_HELD_BYTES", "1048576")]).await;
    let address = app.listen().await;
    let halves = [
        posting(1, address, 65_000, &" ".repeat(60_000)).await,
        posting(1, address, 65_000, &" ".repeat(60_000)).await,
    ];
    let whole = format!("{:<20000}", "{\"query\":\"{ __typename }\"}");
    let asked = async |last: u8| status(&mut posting(last, address, whole.len(), &whole).await).await;
    let deadline = Instant::now() + DEADLINE;
    while asked(1).await != "429" {
        assert!(Instant::now() < deadline, "everything is held");
    }
    assert_eq!(asked(2).await, "200", "of another address");
    drop(halves);
    while asked(1).await != "200" {
        assert!(Instant::now() < deadline, "nothing becomes free");
    }
}

/// The socket of the other end of a connection, out of this very process.
fn other_end(stream: &TcpStream) -> std::net::TcpStream {
    let pidfd = pidfd_open(Pid::from_raw(std::process::id().cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = descriptors.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let sockets = numbers.filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok());
    sockets
        .map(std::net::TcpStream::from)
        .find(|socket| socket.local_addr().ok() == Some(peer) && socket.peer_addr().ok() == Some(local))
        .expect("the server's end of the connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_not_held_back_to_be_joined() {
    let app = TestApp::new().await;
    let mut stream = from(1, app.listen().await).await;
    assert!(is_answered(&mut stream).await);
    assert!(other_end(&stream).nodelay().unwrap());
}

/// A server on a database of its own, within limits of the system.
async fn limited(data: &Path, limit: &str) -> Server {
    let url = new_database().await;
    let variables = [
        ("DATABASE_URL", url.expose_secret()),
        ("RAGBOARD_JWT_SECRET", "9f2c1e4b7a5d8036b1f4c7e2d9a05386"),
        ("RAGBOARD_SEARCH_EMBEDDER", "none"),
        ("RAGBOARD_GRAPHIQL", "false"),
    ];
    Server::start_by(program::limited(data, limit), data, &[], &variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_descriptors_that_the_system_allows_are_used() {
    let folder = TestFolder::new("descriptors");
    let server = limited(&folder.path().join("data"), "-Sn 200").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_heads_of_one_address_leave_descriptors_for_others() {
    let folder = TestFolder::new("descriptors");
    let server = limited(&folder.path().join("data"), "-n 256").await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    let mut halves = Vec::new();
    for _ in 0..400 {
        let mut stream = from(1, address).await;
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n").await;
        halves.push(stream);
    }
    assert!(is_answered(&mut from(2, address).await).await, "{}", server.log());
    assert!(!server.log().contains("cannot be accepted"), "{}", server.log());
    assert_eq!(server.log().matches("Refused").count(), 1, "once a minute: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_hears_the_answer() {
    let app = TestApp::new().await;
    let address = app.listen().await;
    // Longer than allowed, of a wrong type, and for nobody; as long as it says, and in parts.
    for (path, content_type, status) in [
        ("/graphql", "application/json", "413"),
        ("/graphql", "text/plain", "400"),
        ("/nowhere", "application/json", "404"),
    ] {
        for length in ["content-length: 8388608", "transfer-encoding: chunked"] {
            let mut stream = from(1, address).await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n{length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let part = vec![b' '; 1 << 20];
            for _ in 0..8 {
                if length.starts_with("transfer") {
                    stream.write_all(b"100000\r\n").await.unwrap();
                }
                stream.write_all(&part).await.unwrap();
                if length.starts_with("transfer") {
                    stream.write_all(b"\r\n").await.unwrap();
                }
            }
            if length.starts_with("transfer") {
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"), "{path} {length}");
        }
    }
    // Who asks first is answered at once, and sends nothing.
    let mut stream = from(1, address).await;
    let head = "POST /graphql HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: text/plain\r\ncontent-length: 8388608\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}
