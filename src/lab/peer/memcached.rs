//! Short connections to a memcached server, one request each, as fast as they go: the load that fills session tables.
//!
//! No packaged tool does it: memcaslap and memcslap keep their connections. A connection is opened, asks for one value (text
//! protocol), gets it and is closed by the client, as clients without a connection pool do. Each has an address and a port
//! that none had before, so that nobody can answer from what is left of an older one: neither the client's own kernel
//! (`TIME_WAIT`) nor a gateway's session table.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Duration, Instant, sleep, timeout};

const SET: &[u8] = b"set lab 0 0 32\r\n0123456789abcdef0123456789abcdef\r\n";
const STORED: &[u8] = b"STORED\r\n";
const GET: &[u8] = b"get lab\r\n";
const VALUE: &[u8] = b"VALUE lab 0 32\r\n0123456789abcdef0123456789abcdef\r\nEND\r\n";

/// The first port of each address, and how many it has.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 64_512;
/// How long the server may take to come up.
const START: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The server.
    pub to: SocketAddr,
    /// The first address that connections come from.
    pub from: Ipv4Addr,
    /// How many addresses there are: each is good for 64,512 connections.
    pub addresses: u32,
    /// How long to go on, in seconds.
    pub seconds: u32,
    /// Connections at the same time.
    pub concurrency: u32,
    /// When a connection that is not done has failed.
    pub patience: Duration,
}

/// What became of the connections.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Connections that got their value, in each second of the load.
    pub succeeded: Vec<u64>,
    /// Connections that did not, in each second.
    pub failed: Vec<u64>,
    /// Why, with the number of each.
    pub errors: BTreeMap<String, u64>,
    /// Time from the first packet to the value, of those that got it: the median, in microseconds.
    pub median_us: u32,
    /// The same, of the slowest in a hundred.
    pub p99_us: u32,
}

/// Waits for the server, gives it the value, and puts the load on it.
///
/// # Errors
/// When the server does not take the value. Later failures are in the report.
pub async fn run(load: Load) -> io::Result<Report> {
    let next = Arc::new(AtomicU32::new(0));
    prepare(load, &next).await?;
    let begun = Instant::now();
    let tasks: Vec<_> =
        (0..load.concurrency).map(|_| tokio::spawn(client(load, Arc::clone(&next), begun))).collect();
    let seconds = usize::try_from(load.seconds).unwrap_or(usize::MAX);
    let mut report = Report { succeeded: vec![0; seconds], failed: vec![0; seconds], ..Report::default() };
    let mut times = Vec::new();
    for task in tasks {
        let seen = task.await.map_err(io::Error::other)?;
        for (second, time) in seen.times {
            count(&mut report.succeeded, second);
            times.push(time);
        }
        for (second, error) in seen.errors {
            count(&mut report.failed, second);
            *report.errors.entry(error).or_default() += 1;
        }
    }
    times.sort_unstable();
    let quantile = |hundredth: usize| times.get(times.len() * hundredth / 100).copied().unwrap_or(0);
    (report.median_us, report.p99_us) = (quantile(50), quantile(99));
    Ok(report)
}

fn count(seconds: &mut [u64], second: usize) {
    // What began in time and ended late belongs to the last second.
    let last = seconds.len().saturating_sub(1);
    if let Some(number) = seconds.get_mut(second.min(last)) {
        *number += 1;
    }
}

async fn prepare(load: Load, next: &AtomicU32) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match ask(load, next, SET, STORED).await {
            Err(_) if begun.elapsed() < START => sleep(Duration::from_millis(50)).await,
            outcome => return outcome,
        }
    }
}

/// What one client saw: the second of the load, and how long a connection took in microseconds, or why it failed.
#[derive(Default)]
struct Seen {
    times: Vec<(usize, u32)>,
    errors: Vec<(usize, String)>,
}

async fn client(load: Load, next: Arc<AtomicU32>, begun: Instant) -> Seen {
    let mut seen = Seen::default();
    let end = Duration::from_secs(load.seconds.into());
    while begun.elapsed() < end {
        let start = Instant::now();
        let outcome = ask(load, &next, GET, VALUE).await;
        let second = usize::try_from(begun.elapsed().as_secs()).unwrap_or(usize::MAX);
        match outcome {
            Ok(()) => {
                seen.times.push((second, u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)));
            }
            Err(error) => seen.errors.push((second, error.to_string())),
        }
    }
    seen
}

/// One connection: a request and its answer.
async fn ask(load: Load, next: &AtomicU32, request: &[u8], answer: &[u8]) -> io::Result<()> {
    let source = source(load, next.fetch_add(1, Relaxed));
    let attempt = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(source)?;
        exchange(socket.connect(load.to).await?, request, answer).await
    };
    match timeout(load.patience, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::other(format!("not done within {} ms", load.patience.as_millis()))),
    }
}

/// Address and port of a connection. They begin anew when all were used.
fn source(load: Load, number: u32) -> SocketAddr {
    let addresses = load.addresses.max(1);
    let address = Ipv4Addr::from_bits(load.from.to_bits().saturating_add(number % addresses));
    let port = FIRST_PORT + number / addresses % PORTS;
    SocketAddr::from((address, u16::try_from(port).unwrap_or(u16::MAX)))
}

async fn exchange(mut stream: TcpStream, request: &[u8], answer: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut seen = [0; VALUE.len()];
    let mut length = 0;
    while length < answer.len() {
        let read = stream.read(seen.get_mut(length..).unwrap_or_default()).await?;
        if read == 0 {
            break;
        }
        length += read;
    }
    match seen.get(..length) == Some(answer) {
        true => Ok(()),
        false => Err(io::Error::other(format!("a wrong answer of {length} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tokio::net::TcpListener;

    const LOCAL: Ipv4Addr = Ipv4Addr::new(127, 78, 0, 1);

    fn load(to: SocketAddr) -> Load {
        Load { to, from: LOCAL, addresses: 3, seconds: 1, concurrency: 4, patience: Duration::from_secs(5) }
    }

    #[test]
    fn no_two_connections_have_the_same_source_until_all_were_used() {
        let load = load((LOCAL, 1).into());
        let sources: HashSet<_> = (0..3 * PORTS).map(|number| source(load, number)).collect();
        assert_eq!(sources.len(), 3 * 64_512);
        assert_eq!(source(load, 3 * PORTS - 1).port(), 65_535);
        assert_eq!(source(load, 3 * PORTS), source(load, 0));
    }

    /// A server that answers every `bad`th request wrongly.
    async fn serve(listener: TcpListener, bad: u64) {
        for number in 0_u64.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut request = [0; 64];
            let length = stream.read(&mut request).await.unwrap();
            let answer = match request.get(..length) {
                Some(SET) => STORED,
                Some(GET) if number % bad == 0 => b"END\r\n",
                Some(GET) => VALUE,
                other => panic!("{other:?}"),
            };
            stream.write_all(answer).await.unwrap();
        }
    }

    #[test]
    fn each_connection_is_counted_in_its_second_as_done_or_failed() {
        let report = super::super::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let to = listener.local_addr()?;
            tokio::spawn(serve(listener, 10));
            run(load(to)).await
        })
        .unwrap();
        assert_eq!((report.succeeded.len(), report.failed.len()), (1, 1));
        assert_eq!(report.errors.values().sum::<u64>(), report.failed[0]);
        // Others on this machine may listen on one of the ports: such a connection has failed for that.
        let (good, bad) = (report.succeeded[0], report.errors["a wrong answer of 5 bytes"]);
        assert!(good > 20 && (8 * bad..=11 * bad).contains(&good), "{report:?}");
        assert!(report.median_us > 0 && report.median_us <= report.p99_us);
    }
}
