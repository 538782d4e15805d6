//! What can be wrong with pools that share their ports out: in blocks, or by arithmetic.

use ipnet::Ipv4Net;

/// A rule that such a pool breaks. `key` is `port_blocks` or `deterministic`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says what it is and names its fields")]
pub enum SharingMistake {
    #[error("`port_blocks` and `deterministic` in one pool: a port is given by one of them")]
    Both,
    #[error(
        "`{0}` with spread = \"flow\": the flows of a host are with several workers, and its ports are with one"
    )]
    Spread(&'static str),
    #[error("`{0}` with well-known ports")]
    LowPorts(&'static str),
    #[error("`{0}` with pooling = \"arbitrary\": a host has one address")]
    Arbitrary(&'static str),
    #[error("`hold_down` with `deterministic`: a freed port can go to nobody but the host that had it")]
    HoldDown,
    #[error(
        "a rule translates clients' sources to pool \"{pool}\", which has ports for subscribers (`{key}`)"
    )]
    FullNat { pool: String, key: &'static str },
    #[error("blocks of {0} ports")]
    BlockSize(u16),
    #[error(
        "pool \"{pool}\" has {blocks} blocks of {size} ports, and {workers} workers of which each needs its own"
    )]
    FewBlocks { pool: String, blocks: u64, size: u16, workers: u8 },
    #[error("{first} and {second} of `inside` overlap")]
    Overlap { first: Ipv4Net, second: Ipv4Net },
    #[error("{hosts} hosts need {needed} addresses, and pool \"{pool}\" has {addresses}")]
    TooManyHosts { pool: String, hosts: u64, needed: u64, addresses: u64 },
    #[error("a host's {size} ports are more than the {ports} of an address of pool \"{pool}\"")]
    WideShare { pool: String, size: u16, ports: u32 },
    #[error("the hosts of `inside` can be in zone {first} or in zone {second}")]
    ZoneAmbiguous { first: u16, second: u16 },
}

impl SharingMistake {
    /// What to do about it, in a sentence without a full stop.
    pub(super) fn cure(&self) -> String {
        match self {
            SharingMistake::Both => "keep one of them, or use two pools".into(),
            SharingMistake::Spread(key) => {
                format!("write spread = \"source\", which is the default, or remove `{key}`")
            }
            SharingMistake::LowPorts(_) => "begin `ports` at 1024 or above".into(),
            SharingMistake::Arbitrary(_) => "remove `pooling`".into(),
            SharingMistake::HoldDown => "remove `hold_down`".into(),
            SharingMistake::FullNat { .. } => "name another pool, or source = \"interface\"".into(),
            SharingMistake::BlockSize(_) => {
                "write 64, 128, 256, 512 or 1024; for more ports raise `per_subscriber`".into()
            }
            SharingMistake::FewBlocks { .. } => {
                "add addresses, widen the range of `ports`, or use fewer workers".into()
            }
            SharingMistake::Overlap { .. } => "list each host once".into(),
            SharingMistake::TooManyHosts { needed, .. } => {
                format!(
                    "add addresses until there are {needed}, or give fewer ports to each, or list fewer hosts"
                )
            }
            SharingMistake::WideShare { .. } => {
                "give fewer ports to each, or widen the range of `ports`".into()
            }
            SharingMistake::ZoneAmbiguous { first, .. } => {
                format!("add the one that is meant, such as `zone = {first}`")
            }
        }
    }
}
