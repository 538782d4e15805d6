//! What can be wrong or doubtful in `[[notrack]]` classes and the sets that they name.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A rule that a class breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says what it is and names its fields")]
pub enum ClassMistake {
    #[error("two classes are called \"{0}\"")]
    Twice(String),
    #[error("the service can be in zone {first} or in zone {second}")]
    ServiceAmbiguous { first: u16, second: u16 },
    #[error("the clients can be in zone {first} or in zone {second}")]
    ClientsAmbiguous { first: u16, second: u16 },
    #[error("\"{interface}\" is in zone {of}, and the class is for clients in zone {zone}")]
    OutsideZone { interface: String, of: u16, zone: u16 },
    #[error("`tcp_flags` is for TCP, and the class takes in {protocol}")]
    FlagsProtocol { protocol: String },
    #[error("`tcp_flags` with answers, which have other flags")]
    FlagsOfAnswers,
    #[error("`peers` and `symmetric = false` exclude each other")]
    PeersOneWay,
    #[error("`peers` without `port`")]
    PeersWithoutPort,
    #[error("`opened_by` is for TCP, and the class takes in none")]
    OpenerWithoutTcp,
    #[error("`{0}` has no meaning for packets that are dropped")]
    DropWith(&'static str),
    #[error("policy = \"allow-listed\" lists everybody")]
    ListsEverybody,
    #[error("`{translate}` without exactly one prefix in `{of}`")]
    TranslatesMany { translate: &'static str, of: &'static str },
    #[error("`{of}` is {net} and `{translate}` is {becomes}: they differ in length")]
    TranslationLength { translate: &'static str, of: &'static str, net: Ipv4Net, becomes: Ipv4Net },
    #[error("{address} belongs to {owner}, whose sessions use its ports, and the class takes them all")]
    SharedWithoutPort { address: Ipv4Addr, owner: String },
    #[error("{address} belongs to {owner}")]
    SourceOwned { address: Ipv4Addr, owner: String },
    #[error("{address} is a next hop, another machine's address")]
    NextHop { address: Ipv4Addr },
    #[error("{address} is an address of the gateway itself")]
    ServiceSelf { address: Ipv4Addr },
}

impl ClassMistake {
    /// What to write instead.
    pub(super) fn cure(&self) -> String {
        match self {
            ClassMistake::Twice(_) => "rename one of them".into(),
            ClassMistake::ServiceAmbiguous { first, .. } => {
                format!("add the one that is meant, such as `to_zone = {first}`")
            }
            ClassMistake::ClientsAmbiguous { first, .. } => {
                format!("add the one that is meant, such as `zone = {first}`")
            }
            ClassMistake::OutsideZone { .. } => "correct `on` or `zone`, or leave `zone` out".into(),
            ClassMistake::FlagsProtocol { .. } => "write protocol = \"tcp\"".into(),
            ClassMistake::FlagsOfAnswers => {
                "add `symmetric = false`, and take answers in by another class or a session".into()
            }
            ClassMistake::PeersOneWay => {
                "remove `peers` for packets of one direction, or `symmetric` for both".into()
            }
            ClassMistake::PeersWithoutPort => {
                "add the port that both sides send to, such as `port = 4789`".into()
            }
            ClassMistake::OpenerWithoutTcp => "remove `opened_by`, or add \"tcp\" to `protocol`".into(),
            ClassMistake::DropWith(key) => format!("remove `{key}`, or `action`"),
            ClassMistake::ListsEverybody => {
                "list the clients that may pass, such as from = \"10.0.0.0/8\"".into()
            }
            ClassMistake::TranslatesMany { of, .. } => {
                format!("write one address or prefix in `{of}`, no set; make a class for each of several")
            }
            ClassMistake::TranslationLength { net, translate, .. } => {
                format!(
                    "a translation is one to one: write a prefix of length {} in `{translate}`",
                    net.prefix_len()
                )
            }
            ClassMistake::SharedWithoutPort { .. } => {
                "add `port`, or use an address that belongs to this class alone".into()
            }
            ClassMistake::SourceOwned { .. } => "use addresses that belong to this class alone".into(),
            ClassMistake::NextHop { .. } => "use addresses that nobody else has".into(),
            ClassMistake::ServiceSelf { .. } => "use the address of the server".into(),
        }
    }
}

/// Something about a class or a set that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says what it is and names its fields")]
pub enum ClassCaution {
    #[error("set \"{0}\" is used by no rule")]
    SetUnused(String),
    #[error("set \"{0}\" is empty: a rule that names it alone applies to nobody")]
    SetEmpty(String),
    #[error("class \"{0}\" takes in every packet")]
    Everything(String),
    #[error("{address} belongs to {owner}: without `translate_to` the class does not apply to it")]
    OwnUntranslated { address: Ipv4Addr, owner: String },
}

impl ClassCaution {
    /// What to think about.
    pub(super) fn cure(&self) -> String {
        match self {
            ClassCaution::SetUnused(name) => format!("use it: from = \"set.{name}\", or remove it"),
            ClassCaution::SetEmpty(_) => "add `prefixes`, if somebody is meant".into(),
            ClassCaution::Everything(_) => {
                "say which packets are meant: `from`, `to`, `protocol` and `port`; nothing else needs a session now".into()
            }
            ClassCaution::OwnUntranslated { .. } => {
                "add `translate_to` with the server's address, or use that address in `to`".into()
            }
        }
    }
}
