//! An HTTP/1.0 server: one request a connection.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a page that says from which address the request came |
//! | `GET /bytes/N` | the first N bytes of [`Noise`] |
//! | `PUT` of a body to any path | whether the body is the beginning of [`Noise`] |

use super::{GREETING, Noise};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, timeout};

/// Connections that may wait for being accepted: more than any test opens at once.
const BACKLOG: u32 = 4096;
const MAX_HEAD: usize = 8192;
const CHUNK: usize = 65_536;
/// No connection lives longer.
const LIFE: Duration = Duration::from_secs(120);

/// Serves on all addresses until killed; `ready` is called when connections are accepted.
///
/// # Errors
/// When the port is taken.
pub async fn serve(address: SocketAddr, ready: impl FnOnce()) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    ready();
    loop {
        if let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(timeout(LIFE, answer(stream, peer.ip())));
        }
    }
}

struct Request {
    method: String,
    path: String,
    content_length: u64,
    /// What came after the head already.
    body: Vec<u8>,
}

async fn answer(mut stream: TcpStream, peer: IpAddr) -> io::Result<()> {
    let Some(request) = read_head(&mut stream).await? else {
        return respond(&mut stream, "400 Bad Request", "this is not HTTP\n").await;
    };
    let bytes = request.path.strip_prefix("/bytes/").and_then(|count| count.parse::<u64>().ok());
    match (request.method.as_str(), bytes) {
        ("GET", Some(count)) => send_bytes(&mut stream, count).await,
        ("GET", None) if request.path == "/" => {
            respond(&mut stream, "200 OK", &format!("{GREETING}\nyou are {peer}\n")).await
        }
        ("PUT", _) => {
            let text = receive(&mut stream, &request).await?;
            respond(&mut stream, "200 OK", &text).await
        }
        _ => respond(&mut stream, "404 Not Found", "no such page\n").await,
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let body = head.split_off(end + 4);
            return Ok(parse_head(&String::from_utf8_lossy(&head), body));
        }
        let length = stream.read(&mut chunk).await?;
        if length == 0 || head.len() > MAX_HEAD {
            return Ok(None);
        }
        head.extend(chunk.iter().take(length));
    }
}

fn parse_head(head: &str, body: Vec<u8>) -> Option<Request> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let content_length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    Some(Request { method, path, content_length, body })
}

async fn respond(stream: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let head = format!("HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{text}").as_bytes()).await?;
    stream.shutdown().await
}

async fn send_bytes(stream: &mut TcpStream, count: u64) -> io::Result<()> {
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {count}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut noise = Noise::default();
    let mut buffer = vec![0; CHUNK];
    let mut left = count;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let (now, _) = buffer.split_at_mut(length);
        noise.fill(now);
        stream.write_all(now).await?;
        left -= u64::try_from(length).unwrap_or(left);
    }
    stream.shutdown().await
}

async fn receive(stream: &mut TcpStream, request: &Request) -> io::Result<String> {
    let length = usize::try_from(request.content_length).unwrap_or(usize::MAX).min(256 << 20);
    let mut body = request.body.clone();
    let mut chunk = vec![0; CHUNK];
    while body.len() < length {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        body.extend(chunk.iter().take(read));
    }
    let mut expected = vec![0; body.len()];
    Noise::default().fill(&mut expected);
    let verdict = if body == expected { "intact" } else { "damaged" };
    Ok(format!("received {} bytes, {verdict}\n", body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_head_gives_method_path_and_length() {
        let head = "PUT /upload HTTP/1.1\r\nHost: x\r\ncontent-length: 12\r\n\r\n";
        let request = parse_head(head, b"abc".to_vec()).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/upload"));
        assert_eq!((request.content_length, request.body.len()), (12, 3));
        assert!(parse_head("nonsense", Vec::new()).is_none());
    }
}
