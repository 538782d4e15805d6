//! `natgate peer`: the servers and clients of the laboratory (hidden; see [`crate::lab::peer`]).

use crate::lab::peer::{block_on, http, load, meet, memcached, udp, write_noise};
use clap::Subcommand;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Which role to play.
#[derive(Debug, Subcommand)]
pub(super) enum Args {
    /// Serve pages over HTTP until killed.
    HttpServer {
        /// Address and port to listen on.
        listen: SocketAddr,
    },
    /// Fetch a page over many connections at once and print a report as JSON.
    HttpLoad {
        /// Address and port of the server.
        to: SocketAddr,
        /// Connections.
        #[arg(long, default_value_t = 1000)]
        count: u32,
    },
    /// Ask a memcached server for a value over many short connections, and print a report as JSON.
    MemcachedLoad {
        /// Address and port of the server.
        to: SocketAddr,
        /// The first address that connections come from.
        #[arg(long)]
        from: Ipv4Addr,
        /// Addresses: each is good for 64,512 connections.
        #[arg(long, default_value_t = 1)]
        addresses: u32,
        /// How long to go on.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Connections at the same time.
        #[arg(long, default_value_t = 256)]
        concurrency: u32,
        /// Milliseconds until a connection that is not done has failed.
        #[arg(long, default_value_t = 500)]
        patience: u32,
    },
    /// Send every datagram back until killed.
    UdpEcho {
        /// Address and port to listen on.
        listen: SocketAddr,
    },
    /// Send one datagram and say what came back.
    UdpProbe {
        /// Address and port of the server.
        to: SocketAddr,
        /// Bytes of data.
        #[arg(long, default_value_t = 100)]
        size: usize,
    },
    /// Send one datagram from each of these ports of each of these addresses; say how many left.
    UdpCrowd {
        /// Address and port of the server, which need not answer.
        to: SocketAddr,
        /// The first address.
        #[arg(long)]
        from: Ipv4Addr,
        /// Addresses.
        #[arg(long, default_value_t = 1)]
        addresses: u32,
        /// The first port.
        #[arg(long, default_value_t = 10_000)]
        port: u16,
        /// Ports of each.
        #[arg(long, default_value_t = 1000)]
        ports: u16,
        /// Datagrams a second.
        #[arg(long, default_value_t = 10_000)]
        rate: u32,
    },
    /// Introduce hosts to each other, two by two, until killed.
    UdpIntroduce {
        /// Address and port to listen on.
        listen: SocketAddr,
    },
    /// Meet the host that the server introduces, and say where it was heard from.
    UdpMeet {
        /// Address and port of the server.
        server: SocketAddr,
    },
    /// Write the bytes that the server serves under /bytes/COUNT.
    Bytes {
        /// How many.
        count: u64,
    },
}

/// Plays the role.
///
/// # Errors
/// When a socket can not be used.
pub(super) fn run(args: Args) -> io::Result<()> {
    match args {
        Args::HttpServer { listen } => block_on(http::serve(listen, ready)),
        Args::HttpLoad { to, count } => {
            let report = block_on(load::run(to, count))?;
            writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
        }
        Args::MemcachedLoad { to, from, addresses, seconds, concurrency, patience } => {
            let patience = Duration::from_millis(patience.into());
            let load = memcached::Load { to, from, addresses, seconds, concurrency, patience };
            let report = block_on(memcached::run(load))?;
            writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
        }
        Args::UdpEcho { listen } => udp::echo(listen, ready),
        Args::UdpProbe { to, size } => writeln!(io::stdout(), "{}", udp::probe(to, size)?),
        Args::UdpCrowd { to, from, addresses, port, ports, rate } => {
            let from = (0..addresses).map(|n| Ipv4Addr::from_bits(from.to_bits().saturating_add(n)));
            let ports = port..=port.saturating_add(ports.saturating_sub(1));
            writeln!(io::stdout(), "{}", udp::crowd(from, ports, to, rate)?)
        }
        Args::UdpIntroduce { listen } => meet::introduce(listen, ready),
        Args::UdpMeet { server } => writeln!(io::stdout(), "{}", meet::meet(server)?),
        Args::Bytes { count } => write_noise(&mut io::stdout().lock(), count),
    }
}

fn ready() {
    // Whoever started this waits for the word in the log; nobody else reads it.
    let _ = writeln!(io::stdout(), "ready");
}
