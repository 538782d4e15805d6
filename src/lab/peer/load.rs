//! Many short HTTP connections at the same time.

use super::GREETING;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

/// Time that each connection gets, so that lost segments can be repeated a few times.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of the connections.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Connections that got the whole page.
    pub succeeded: u32,
    /// Connections that did not.
    pub failed: u32,
    /// Why, with the number of each.
    pub errors: BTreeMap<String, u32>,
    /// Milliseconds until the last one was done.
    pub elapsed_ms: u64,
}

/// Opens `count` connections at once, and fetches a page over each.
///
/// # Errors
/// Never: failures are in the report.
pub async fn run(to: SocketAddr, count: u32) -> io::Result<Report> {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(timeout(LIMIT, fetch(to)))).collect();
    let mut report = Report::default();
    for task in tasks {
        let outcome = match task.await {
            Ok(Ok(result)) => result.map_err(|e| e.to_string()),
            Ok(Err(_)) => Err(format!("not done within {} s", LIMIT.as_secs())),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => report.succeeded += 1,
            Err(error) => {
                report.failed += 1;
                *report.errors.entry(error).or_default() += 1;
            }
        }
    }
    report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

async fn fetch(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let page = answer.split_once("\r\n\r\n").map(|(_, page)| page);
    // The page ends with its second line: an answer that was cut off does not count.
    if page.is_some_and(|page| page.starts_with(GREETING) && page.ends_with('\n')) {
        return Ok(());
    }
    Err(io::Error::other(format!("a wrong page of {} bytes", answer.len())))
}
