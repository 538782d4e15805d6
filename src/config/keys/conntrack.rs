//! The keys of `[conntrack]` and of what is below it.

use super::{BOOLEAN, Key, PREFIXES, PROTOCOLS, Presence, default, optional};
use crate::conntrack::timeouts::Timeout;
use std::borrow::Cow;
use std::time::Duration;

const SHARE: &str = "percentage";

pub(super) static CONNTRACK: &[Key] = &[
    default(
        "max_sessions",
        "1 to 134217728",
        "262144",
        "1000000",
        "Sessions of all workers together; at least one a worker.",
    ),
    default(
        "when_full",
        "`\"early-drop\"` or `\"refuse\"`",
        "\"early-drop\"",
        "\"refuse\"",
        "What a new session meets when the table is full: it takes the place of one that matters less (unreplied, then closing, then never assured), or it is refused and nobody is evicted (RFC 6888 REQ-11).",
    ),
    default(
        "reserve",
        SHARE,
        "\"1%\"",
        "\"0.5%\"",
        "Share of the table that is kept free for `management` sources and the gateway's own sessions; at most half.",
    ),
    default(
        "adaptive",
        "`\"off\"` or a list of two percentages",
        "[\"80%\", \"98%\"]",
        "\"off\"",
        "As the table fills from the first mark to the second, the timeouts of unreplied and closing sessions shrink to next to nothing. `\"off\"`: they never shrink.",
    ),
    default(
        "half_open",
        SHARE,
        "\"50%\"",
        "\"25%\"",
        "Share of the table that TCP connections may take before their handshake is complete.",
    ),
    optional(
        "max_sessions_per_source",
        "1 to 134217728",
        "no limit",
        "1000",
        "Sessions that one source address may have at once.",
    ),
    optional(
        "new_sessions_per_source",
        "rate",
        "no limit",
        "\"100/s\"",
        "New sessions that one source address may open a second, in the long run.",
    ),
    optional(
        "new_sessions_burst",
        "1 to 134217728",
        "as many as `new_sessions_per_source` allows in a second",
        "200",
        "New sessions that one source address may open at once, after it was quiet; only with `new_sessions_per_source`.",
    ),
    default(
        "management",
        PREFIXES,
        "[]",
        "[\"10.0.0.5/32\"]",
        "Sources that are never locked out: they may use the `reserve`, are never evicted, and no limit per source applies to them. At most 64 prefixes.",
    ),
    default(
        "tcp_be_liberal",
        BOOLEAN,
        "false",
        "true",
        "Let TCP segments outside the window pass, all but resets.",
    ),
    default(
        "tcp_loose",
        BOOLEAN,
        "false",
        "true",
        "Begin sessions in the middle of a TCP connection. Off, unlike in Linux: after a restart a NAT gives the connection another port, which its peer does not know, so that nothing is saved and any stray segment makes a session.",
    ),
    optional("timeouts", "table", "the defaults", "{}", "Idle timeouts: `[conntrack.timeouts]`."),
    optional(
        "timeout_set",
        "tables",
        "no further set",
        "{}",
        "Other timeouts for some sessions: `[conntrack.timeout_set.NAME]`.",
    ),
    optional(
        "rule",
        "list of tables",
        "every session has the same timeouts and mark 0",
        "[]",
        "Which sessions get which timeouts and mark, first match decides: `[[conntrack.rule]]`.",
    ),
];

pub(super) static RULE: &[Key] = &[
    optional(
        "on",
        "interface name",
        "any interface",
        "\"wan\"",
        "The interface that the first packet comes in by.",
    ),
    default(
        "from",
        PREFIXES,
        "[]",
        "\"192.168.1.0/24\"",
        "Sources of the first packet, as it arrives; an empty list means any.",
    ),
    default(
        "to",
        PREFIXES,
        "[]",
        "\"203.0.113.2\"",
        "Destinations of the first packet, as it arrives, before any translation; an empty list means any.",
    ),
    optional("protocol", PROTOCOLS, "any protocol", "\"udp\"", "Protocol, by name or IANA number."),
    optional(
        "port",
        "port or port range",
        "any port",
        "53",
        "Destination port of the first packet, as it arrives; only with protocols that have ports.",
    ),
    optional(
        "timeouts",
        "name of a set",
        "`[conntrack.timeouts]` hold",
        "\"short\"",
        "The timeouts of these sessions: `[conntrack.timeout_set.NAME]`. At least one of `timeouts` and `mark` is given.",
    ),
    optional(
        "mark",
        "0 to 4294967295, or `\"0x0\"` to `\"0xffffffff\"`",
        "0",
        "\"0x2a\"",
        "The mark of these sessions, to find them by in `natgate sessions`.",
    ),
];

/// What the documentation says of a set's keys, all of them at once.
pub(super) const TIMEOUT_SET_ROW: &str =
    "| any key of `[conntrack.timeouts]` | length of time | as in `[conntrack.timeouts]` | As there. |\n";

/// The TOML of a length of time.
fn quoted(length: Duration) -> Cow<'static, str> {
    Cow::Owned(format!("\"{}\"", humantime::format_duration(length).to_string().replace(' ', "")))
}

fn timeout(timeout: Timeout, presence: Presence) -> Key {
    Key {
        name: timeout.name(),
        kind: "length of time",
        presence,
        example: Cow::Borrowed("\"5m\""),
        help: timeout.help(),
    }
}

pub(super) fn timeouts() -> Vec<Key> {
    let key = |which: &Timeout| timeout(*which, Presence::Default(quoted(which.default_length())));
    Timeout::ALL.iter().map(key).collect()
}

pub(super) fn timeout_set() -> Vec<Key> {
    let key = |which: &Timeout| timeout(*which, Presence::Optional("as in `[conntrack.timeouts]`"));
    Timeout::ALL.iter().map(key).collect()
}
