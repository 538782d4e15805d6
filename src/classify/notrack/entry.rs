//! What a class becomes: which packets, which treatment.

use super::{PrefixMap, TcpFlags};
use crate::classify::InterfaceMask;
use crate::packet::{Fragment, Kind};
use crate::telemetry::DropReason;
use std::ops::RangeInclusive;

/// The direction that an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From clients to the service.
    There = 0,
    /// From the service to clients.
    Back = 1,
}

impl Way {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Way::There => "there",
            Way::Back => "back",
        }
    }
}

/// Which packets, as they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The interfaces that they come in by.
    pub arrive: InterfaceMask,
    /// IANA protocol numbers; empty: any.
    pub protocols: Vec<u8>,
    /// Sources, by the number of their set; `None`: any.
    pub src: Option<usize>,
    /// Destinations, by the number of their set; `None`: any.
    pub dst: Option<usize>,
    /// Source ports; empty: any.
    pub sports: Vec<RangeInclusive<u16>>,
    /// Destination ports; empty: any.
    pub dports: Vec<RangeInclusive<u16>>,
    /// TCP flags. A later fragment, which has none, never matches; an ICMP error is not asked.
    pub flags: Option<TcpFlags>,
}

/// What becomes of the packets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// The place of the class in the config.
    pub class: u16,
    /// The direction.
    pub way: Way,
    /// `Some`: they are dropped for this reason.
    pub refuse: Option<DropReason>,
    /// TCP packets that open a connection (SYN without ACK) are dropped.
    pub refuse_opening: bool,
    /// What sources become; `None`: they stay.
    pub src: Option<PrefixMap>,
    /// What destinations become; `None`: they stay.
    pub dst: Option<PrefixMap>,
    /// The zone whose routes lead on; `None`: that of the interface that the packet came in by.
    pub zone: Option<u16>,
    /// The interfaces that they may leave by.
    pub leave: InterfaceMask,
    /// An internal source may leave by an external interface as it is.
    pub untranslated: bool,
}

/// One entry.
pub type Entry = (Match, Treatment);

/// The flags that a packet can be asked for: those of a TCP packet that has its header.
#[inline]
pub fn flags_of(kind: Kind, fragment: Fragment) -> Option<u8> {
    match kind {
        Kind::Tcp { flags } if fragment != Fragment::Later => Some(flags),
        _ => None,
    }
}
