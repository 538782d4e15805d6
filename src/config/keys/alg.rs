//! The keys of `[alg]`.

use super::{Key, default, optional};

const HELPER_PORTS: &str = "list of ports";

pub(super) static ALG: &[Key] = &[
    optional("ftp", "table", "FTP passes as it is", "{}", "Read control connections of FTP: `[alg.ftp]`."),
    optional("tftp", "table", "TFTP passes as it is", "{}", "Read requests of TFTP: `[alg.tftp]`."),
    default(
        "max_expectations",
        "1 to 65536",
        "4096",
        "1024",
        "Sessions from outside that are expected at once, all workers together. What asks for more passes as it is, and is counted.",
    ),
    default(
        "max_sessions",
        "1 to 65536",
        "16384",
        "4096",
        "Sessions that are watched at once, all workers together. Further ones pass as they are, and are counted.",
    ),
    default(
        "expectation_timeout",
        "duration",
        "\"30s\"",
        "\"10s\"",
        "How long somebody outside is expected; he is let in once.",
    ),
];

pub(super) static FTP: &[Key] = &[default(
    "ports",
    HELPER_PORTS,
    "[21]",
    "[21, 2121]",
    "TCP ports of servers: those that clients use, or those that servers have behind a forward.",
)];

pub(super) static TFTP: &[Key] =
    &[default("ports", HELPER_PORTS, "[69]", "[69, 6969]", "UDP ports of servers.")];
