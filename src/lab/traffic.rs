//! Real clients and what must be seen when they work: each function drives one of them in a namespace, and says in
//! a line what was seen, or fails and says what was seen instead.

use super::command::{Background, retry, run};
use super::error::LabError;
use super::namespace::Namespace;
use super::peer::{GREETING, write_noise};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(15);
const LONG: Duration = Duration::from_secs(90);

/// Which way iperf3 sends its data, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Client to server.
    Up,
    /// Server to client.
    Down,
}

/// iperf3's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As fast as it goes.
    Tcp,
    /// At this many megabits a second.
    Udp(u32),
}

/// Starts `natgate peer ARGS` in a namespace and waits until it serves.
///
/// # Errors
/// When it does not start.
pub fn serve(binary: &Path, at: &Namespace, name: &str, args: &[&str]) -> Result<Background, LabError> {
    let binary = binary.display().to_string();
    // A thousand connections need as many descriptors; many machines allow 1,024.
    let argv = [&["prlimit", "--nofile=16384:16384", "--", &binary, "peer"], args].concat();
    listening(at.spawn(name, &argv)?, "ready")
}

/// Starts an iperf3 server in a namespace and waits until it serves.
///
/// # Errors
/// When it does not start.
pub fn serve_iperf(at: &Namespace) -> Result<Background, LabError> {
    listening(at.spawn("iperf3", &["iperf3", "--server", "--forceflush"])?, "listening")
}

fn listening(mut server: Background, word: &str) -> Result<Background, LabError> {
    retry(SHORT, Duration::from_millis(10), || {
        server.still_running()?;
        match server.log().contains(word) {
            true => Ok(()),
            false => Err(LabError::unexpected(format!("a server does not start: {}", server.log()))),
        }
    })?;
    Ok(server)
}

/// Three echo requests with `size` bytes of data; all must be answered.
///
/// # Errors
/// When one is not answered.
pub fn ping(from: &Namespace, to: Ipv4Addr, size: u16) -> Result<String, LabError> {
    let (to, size) = (to.to_string(), size.to_string());
    let argv = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", &size, &to];
    let output = from.exec(&argv, SHORT)?;
    let summary = output.stdout.lines().find(|line| line.contains("packets transmitted")).unwrap_or_default();
    if !summary.contains(" 3 received") {
        let said = output.stdout.trim();
        return Err(LabError::unexpected(format!("not every echo request was answered: {said}")));
    }
    let times = output.stdout.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
    Ok(format!("3 of 3 replies, round trip min/avg/max/mdev {}", times.unwrap_or("unknown")))
}

/// Fetches the page with curl. `expected` is the address that the server must have seen.
///
/// # Errors
/// When the page does not come, or the server saw another address.
pub fn page(from: &Namespace, to: SocketAddr, expected: Ipv4Addr) -> Result<String, LabError> {
    let url = format!("http://{to}/");
    let output = from.check(&["curl", "-sS", "--fail", "--max-time", "10", &url], SHORT)?;
    let seen = output.stdout.lines().nth(1).and_then(|line| line.strip_prefix("you are "));
    match seen {
        Some(seen) if output.stdout.starts_with(GREETING) && seen == expected.to_string() => {
            Ok(format!("got the page of {url}; its server saw the source {seen}"))
        }
        Some(seen) => {
            Err(LabError::unexpected(format!("the server of {url} saw the source {seen}, not {expected}")))
        }
        None => Err(LabError::unexpected(format!("{url} gave another page: {}", output.stdout))),
    }
}

/// Fetches `count` bytes with curl and compares their SHA-256 with what it must be.
///
/// # Errors
/// When the transfer fails or the checksum differs.
pub fn download(binary: &Path, from: &Namespace, to: SocketAddr, count: u64) -> Result<String, LabError> {
    let source = format!("'{}' peer bytes {count} | sha256sum", binary.display());
    let expected = run(&["bash", "-o", "pipefail", "-c", &source], LONG)?.success()?.stdout;
    let script = format!("curl -sS --fail --max-time 80 http://{to}/bytes/{count} | sha256sum");
    let output = from.check(&["bash", "-o", "pipefail", "-c", &script], LONG)?;
    if output.stdout != expected {
        return Err(LabError::unexpected(format!(
            "SHA-256 of {count} bytes is {} and not {}",
            output.stdout.trim(),
            expected.trim()
        )));
    }
    let sum = expected.get(..16).unwrap_or_default();
    Ok(format!("{count} bytes in {:.1} s, SHA-256 {sum}… as it must be", output.elapsed.as_secs_f64()))
}

/// Sends `count` bytes to the server with curl; they must arrive undamaged.
///
/// # Errors
/// When they do not.
pub fn upload(from: &Namespace, scratch: &Path, to: SocketAddr, count: u64) -> Result<String, LabError> {
    let file = scratch.join("upload");
    std::fs::File::create(&file)
        .and_then(|file| write_noise(&mut std::io::BufWriter::new(file), count))
        .map_err(|e| LabError::io(format!("writing {}", file.display()), e))?;
    let (file, url) = (file.display().to_string(), format!("http://{to}/upload"));
    let argv = ["curl", "-sS", "--fail", "--max-time", "60", "-H", "Expect:", "--upload-file", &file, &url];
    let output = from.check(&argv, LONG)?;
    let said = output.stdout.trim();
    if said != format!("received {count} bytes, intact") {
        return Err(LabError::unexpected(format!("sent {count} bytes, but the server {said}")));
    }
    Ok(format!("{count} bytes arrived undamaged in {:.1} s", output.elapsed.as_secs_f64()))
}

/// Opens `count` HTTP connections at once; each must get its page.
///
/// # Errors
/// When one of them does not.
pub fn crowd(binary: &Path, from: &Namespace, to: SocketAddr, count: u32) -> Result<String, LabError> {
    let (binary, to, number) = (binary.display().to_string(), to.to_string(), count.to_string());
    let argv =
        ["prlimit", "--nofile=16384:16384", "--", &binary, "peer", "http-load", &to, "--count", &number];
    let output = from.check(&argv, LONG)?;
    let report: serde_json::Value = parse(&output.stdout)?;
    let number = |name: &str| report.get(name).and_then(serde_json::Value::as_u64);
    if number("succeeded") != Some(u64::from(count)) || number("failed") != Some(0) {
        let report = output.stdout.trim();
        return Err(LabError::unexpected(format!("not all of {count} connections got the page: {report}")));
    }
    Ok(format!("{count} connections at once, no error, all done in {} ms", number("elapsed_ms").unwrap_or(0)))
}

/// A short iperf3 run. UDP may lose at most a tenth: on a machine with few CPUs the receiver itself is late sometimes.
///
/// # Errors
/// When it fails or nothing arrives.
pub fn iperf(
    from: &Namespace,
    to: Ipv4Addr,
    transport: Transport,
    way: Way,
    seconds: u8,
) -> Result<String, LabError> {
    let (to, seconds) = (to.to_string(), seconds.to_string());
    let mut argv = vec!["iperf3", "--json", "--client", &to, "--time", &seconds, "--connect-timeout", "5000"];
    if way == Way::Down {
        argv.push("--reverse");
    }
    let rate = match transport {
        Transport::Tcp => String::new(),
        Transport::Udp(rate) => format!("{rate}M"),
    };
    if !rate.is_empty() {
        // Whole packets: 1,472 bytes of data, 8 of UDP, 20 of IPv4.
        argv.extend(["--udp", "--bitrate", &rate, "--length", "1472"]);
    }
    let output = from.exec(&argv, LONG)?;
    let report: serde_json::Value = parse(&output.stdout)?;
    if let Some(error) = report.get("error").and_then(serde_json::Value::as_str) {
        return Err(LabError::unexpected(format!("iperf3: {error}")));
    }
    let end = |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64);
    let way = if way == Way::Up { "client to server" } else { "server to client" };
    match transport {
        Transport::Tcp => {
            let rate = end("/end/sum_received/bits_per_second").unwrap_or(0.0) / 1e6;
            let repeated = end("/end/sum_sent/retransmits").unwrap_or(0.0);
            if rate < 0.1 {
                return Err(LabError::unexpected(format!("iperf3 TCP {way}: only {rate:.3} Mbit/s arrived")));
            }
            Ok(format!("TCP {way}: {rate:.0} Mbit/s, {repeated:.0} segments repeated"))
        }
        Transport::Udp(_) => {
            let rate = end("/end/sum/bits_per_second").unwrap_or(0.0) / 1e6;
            let (packets, lost) =
                (end("/end/sum/packets").unwrap_or(0.0), end("/end/sum/lost_packets").unwrap_or(0.0));
            if packets < 1.0 || lost > packets / 10.0 {
                return Err(LabError::unexpected(format!(
                    "iperf3 UDP {way}: {lost:.0} of {packets:.0} packets lost"
                )));
            }
            Ok(format!("UDP {way}: {rate:.0} Mbit/s, {lost:.0} of {packets:.0} packets lost"))
        }
    }
}

/// A traceroute that must show exactly these hops, the last one being the destination.
///
/// # Errors
/// When it shows others.
pub fn traceroute(from: &Namespace, hops: &[Ipv4Addr]) -> Result<String, LabError> {
    let to = hops.last().map(ToString::to_string).unwrap_or_default();
    let output = from.check(&["traceroute", "-n", "-q", "1", "-w", "3", "-m", "8", &to], SHORT)?;
    let seen = output.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    let seen: Vec<String> = seen.map(str::to_owned).collect();
    let expected: Vec<String> = hops.iter().map(ToString::to_string).collect();
    if seen != expected {
        return Err(LabError::unexpected(format!(
            "the hops are {}, not {}",
            seen.join(", "),
            expected.join(", ")
        )));
    }
    Ok(format!("hops {}", seen.join(", ")))
}

/// Sends a datagram; `expected` is what must come of it (see [`probe`](super::peer::udp::probe)).
///
/// # Errors
/// When something else comes of it.
pub fn datagram(
    binary: &Path,
    from: &Namespace,
    to: SocketAddr,
    size: u16,
    expected: &str,
) -> Result<String, LabError> {
    let (binary, to, size) = (binary.display().to_string(), to.to_string(), size.to_string());
    let output = from.check(&[&binary, "peer", "udp-probe", &to, "--size", &size], SHORT)?;
    let seen = output.stdout.trim();
    if seen != expected {
        return Err(LabError::unexpected(format!(
            "a datagram of {size} bytes to {to}: {seen}, not {expected}"
        )));
    }
    Ok(format!("a datagram of {size} bytes to {to}: {seen}"))
}

/// The path MTU that the kernel of a namespace has learned for a destination must be this one.
///
/// # Errors
/// When it has learned another one or none.
pub fn learned_mtu(at: &Namespace, to: Ipv4Addr, mtu: u16) -> Result<String, LabError> {
    let output = at.ip(&["route", "get", &to.to_string()])?;
    let text = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    if !text.contains(&format!("mtu {mtu}")) {
        return Err(LabError::unexpected(format!("no path MTU of {mtu} was learned: {text}")));
    }
    Ok(format!("learned a path MTU of {mtu} bytes to {to}"))
}

fn parse(text: &str) -> Result<serde_json::Value, LabError> {
    serde_json::from_str(text).map_err(|e| LabError::unexpected(format!("this is not JSON ({e}): {text}")))
}
