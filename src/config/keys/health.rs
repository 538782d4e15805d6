//! The keys of `[dnat.health]`.

use super::{Key, default, optional};

pub(super) static HEALTH: &[Key] = &[
    optional(
        "check",
        "`\"tcp\"` or `\"icmp\"`",
        "`\"tcp\"`; `\"icmp\"` in a rule for UDP alone",
        "\"icmp\"",
        "What a backend has to do: accept a connection, or answer an echo request.",
    ),
    optional(
        "port",
        "port",
        "the port that clients get to; of a range, the first",
        "8081",
        "The port that it has to accept connections on.",
    ),
    default("interval", "duration", "\"2s\"", "\"5s\"", "From one question to the next."),
    default(
        "timeout",
        "duration",
        "\"1s\"",
        "\"2s\"",
        "How long it may take to answer; not longer than `interval`. It is asked three times in that time, since a packet may be lost.",
    ),
    default("rise", "1 to 100", "2", "3", "So many answers in a row, and a backend that was down is up."),
    default(
        "fall",
        "1 to 100",
        "3",
        "2",
        "So many questions in a row without an answer, and a backend that was up is down.",
    ),
];
