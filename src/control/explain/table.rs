//! What the owner's session table has to do with a packet, read in one walk: the session that it belongs to, and what
//! limits a new one.

use crate::conntrack::class::Class;
use crate::conntrack::key::V4Key;
use crate::conntrack::pressure::Census;
use crate::conntrack::session::{Direction, SessionSnapshot};
use crate::conntrack::sources::V4Source;
use crate::control::filter::{BadParameter, Filter};
use crate::control::state::ControlState;
use crate::control::walk::Walk;
use crate::ids::WorkerId;
use crate::nat::space::set_of;
use crate::packet::Tuple;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use tokio::task::yield_now;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The packet's own key.
    pub(super) key: V4Key,
    /// The local address that the source becomes, by its number.
    pub(super) address: Option<u16>,
    /// The key of the answers, where no port is chosen for it.
    pub(super) reply: Option<V4Key>,
    /// The external endpoint that it is sent to, by the number of its address, if a mapping decides.
    pub(super) external: Option<u16>,
}

/// The mapping of an external endpoint, as far as its sessions tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    /// The internal endpoint, and the zone that it is in.
    pub(super) internal: (Ipv4Addr, u16),
    pub(super) zone: u16,
    /// Whether some session keeps it open.
    pub(super) open: bool,
    /// Whether such a session is with the packet's source address.
    pub(super) known: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The session that the packet belongs to.
    pub(super) session: Option<(SessionSnapshot<V4Key>, Direction)>,
    /// Sessions by class. Whether one is protected can not be seen: those count as what they would be without.
    pub(super) census: Census,
    /// Sessions of the packet's source.
    pub(super) of_source: u32,
    /// Ports of the address that sessions hold, of the set that the protocol's are in.
    pub(super) taken: Vec<u16>,
    /// Whether another session has the key of the answers.
    pub(super) collides: bool,
    /// The mapping of the external endpoint.
    pub(super) mapping: Option<Mapped>,
}

/// Reads the table of the owner, and lets others have their turn.
pub(super) async fn read(
    state: &ControlState,
    owner: WorkerId,
    wanted: Wanted,
) -> Result<Found, BadParameter> {
    let mut filter = Filter::default();
    filter.set("worker", &owner.0.to_string())?;
    let set = set_of(wanted.key.tuple().protocol);
    let source = V4Source::of(wanted.key);
    let mut found = Found {
        session: None,
        census: Census::default(),
        of_source: 0,
        taken: Vec::new(),
        collides: wanted.reply == Some(wanted.key),
        mapping: None,
    };
    let mut walk = Walk::new(state, &filter);
    while !walk.is_over() {
        walk.step(state, &filter, |_, session| {
            let keys = [(session.original, Direction::Original), (session.reply, Direction::Reply)];
            if let Some((_, direction)) = keys.iter().find(|(key, _)| *key == wanted.key) {
                found.session = Some((*session, *direction));
            }
            found.collides |= wanted.reply.is_some_and(|reply| keys.iter().any(|(key, _)| *key == reply));
            found.census.add(Class::of(session.state, session.seen_reply, session.assured));
            found.of_source += u32::from(V4Source::of(session.original) == source);
            if let Some(lease) = session.lease
                && Some(lease.address) == wanted.address
                && set_of(lease.protocol) == set
            {
                found.taken.push(lease.port);
            }
            found.see(&wanted, session);
            ControlFlow::Continue(())
        });
        yield_now().await;
    }
    Ok(found)
}

impl Found {
    /// Takes in what a session tells of the mapping that is looked for.
    fn see(&mut self, wanted: &Wanted, session: &SessionSnapshot<V4Key>) {
        let Tuple { src, dport, protocol, .. } = wanted.key.tuple();
        let Some(lease) = session.lease else { return };
        if (Some(lease.address), lease.port, lease.protocol) != (wanted.external, dport, protocol) {
            return;
        }
        let (inner, outer) = if session.inbound {
            (session.reply, session.original)
        } else {
            (session.original, session.reply)
        };
        let Tuple { src: address, sport: port, .. } = inner.tuple();
        let mapped = self.mapping.get_or_insert(Mapped {
            internal: (address, port),
            zone: inner.zone(),
            open: false,
            known: false,
        });
        mapped.open |= !session.unanswered;
        mapped.known |= !session.unanswered && outer.tuple().src == src;
    }
}
