//! `natgate peer`: the servers and clients of the laboratory (hidden; see [`crate::lab::peer`]).

use crate::lab::peer::{block_on, http, load, udp, write_noise};
use clap::Subcommand;
use std::io::{self, Write};
use std::net::SocketAddr;

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
        Args::UdpEcho { listen } => udp::echo(listen, ready),
        Args::UdpProbe { to, size } => writeln!(io::stdout(), "{}", udp::probe(to, size)?),
        Args::Bytes { count } => write_noise(&mut io::stdout().lock(), count),
    }
}

fn ready() {
    // Whoever started this waits for the word in the log; nobody else reads it.
    let _ = writeln!(io::stdout(), "ready");
}
