//! What sessions have to do with a configuration: what of the one that runs they use, whether another one would still make
//! them, and whether their packets are of its notrack classes.
//!
//! Read from the session tables like any list; nothing here changes anything.

use crate::classify::{Backend, Source};
use crate::config::lineage::InUse;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::ids::{InterfaceId, Realm};
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{Header, Plan, Rule, SessionPlan, plan};
use crate::pipeline::stateless::classify;
use crate::telemetry::DropReason;
use crate::wire::{protocol, tcp};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Finds what of a configuration sessions use, for the numbers of the next one.
#[derive(Debug)]
pub struct Usage<'s> {
    snapshot: &'s Snapshot,
    /// Backends that only sessions keep known.
    retired: HashMap<(u16, Ipv4Addr, u8), Vec<&'s Backend>>,
    found: InUse,
}

impl<'s> Usage<'s> {
    /// Nothing so far.
    pub fn new(snapshot: &'s Snapshot) -> Self {
        let mut retired: HashMap<_, Vec<&Backend>> = HashMap::new();
        for (backend, declared) in snapshot.local.backends() {
            if !declared {
                retired.entry((backend.zone, backend.address, backend.protocol)).or_default().push(backend);
            }
        }
        Usage { snapshot, retired, found: InUse::default() }
    }

    /// Takes a session in.
    pub fn look(&mut self, session: &SessionSnapshot<V4Key>) {
        let local = &self.snapshot.local;
        let ours = [
            session.lease.map(|lease| lease.address),
            local.find(session.original.zone(), session.original.tuple().dst),
            local.find(session.reply.zone(), session.reply.tuple().dst),
        ];
        self.found.addresses.extend(ours.into_iter().flatten());
        self.found.sets.insert(session.policy);
        let Tuple { src, sport, protocol, .. } = session.reply.tuple();
        let behind = self.retired.get(&(session.reply.zone(), src, protocol)).into_iter().flatten();
        self.found.backends.extend(behind.filter(|b| b.ports.contains(&sport)).map(|b| (*b).clone()));
    }

    /// What was found.
    pub fn found(self) -> InUse {
        self.found
    }
}

/// Whether anything is known only for the sessions that use it.
pub fn has_retired(snapshot: &Snapshot) -> bool {
    snapshot.local.iter().any(|local| local.retired && !local.address.is_unspecified())
        || snapshot.local.backends().any(|(_, declared)| !declared)
}

/// Whether a configuration would make this session, if its first packet came now and were of no notrack class.
pub fn would_make(snapshot: &Snapshot, session: &SessionSnapshot<V4Key>) -> bool {
    let original = session.original;
    let Some(interface) = arrival(snapshot, &original) else { return false };
    let tuple = original.tuple();
    let header = Header::whole(interface, tuple, Kind::opening(tuple.protocol));
    match plan(snapshot, &header) {
        // A mapping is as good as the session that made it.
        Ok(Plan::Inbound(_)) => session.inbound,
        Ok(Plan::Session(planned) | Plan::Turn(planned)) => leads_there(snapshot, &planned, session),
        // Sessions of a forward that is being drained are those that it is drained of, and backends that are down keep theirs.
        Err(refusal) => matches!(refusal.reason, DropReason::ForwardDrained | DropReason::BackendsDown),
        Ok(Plan::Route) => false,
    }
}

/// The notrack classes that packets of this session are of, of either side: their places in the config. A class that asks
/// for TCP flags counts if some of its packets can have them. From outside packets come by any interface of the zone.
pub fn classes_of(snapshot: &Snapshot, session: &SessionSnapshot<V4Key>) -> Vec<usize> {
    let mut found = Vec::new();
    if snapshot.notrack.is_empty() {
        return found;
    }
    for key in [&session.original, &session.reply] {
        let tuple = key.tuple();
        for (interface, kind) in
            arrivals(snapshot, key).flat_map(|id| kinds(tuple.protocol).map(move |k| (id, k)))
        {
            let header = Header::whole(interface, tuple, kind);
            let class = classify(snapshot, &header).map(|treatment| usize::from(treatment.class));
            found.extend(class.filter(|class| !found.contains(class)));
        }
    }
    found
}

/// The interfaces that packets with this key can come in by, as far as it tells.
fn arrivals(snapshot: &Snapshot, key: &V4Key) -> impl Iterator<Item = InterfaceId> {
    let (realm, zone) = (key.realm(), key.zone());
    let inside = (realm == Realm::Internal).then(|| arrival(snapshot, key)).flatten();
    let all = (0u8..).take(snapshot.interfaces.len()).map(InterfaceId);
    let outside = all.filter(move |id| {
        let interface = snapshot.interface(*id);
        realm == Realm::External && (interface.realm, interface.zone) == (realm, zone)
    });
    inside.into_iter().chain(outside)
}

/// What packets of a session of this protocol carry: of TCP the flags that its packets have in its course.
fn kinds(number: u8) -> impl Iterator<Item = Kind> {
    const FLAGS: [u8; 5] = [tcp::SYN, tcp::SYN | tcp::ACK, tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST];
    let others = (number != protocol::TCP).then(|| Kind::opening(number));
    let segments = FLAGS.into_iter().filter(move |_| number == protocol::TCP);
    segments.map(|flags| Kind::Tcp { flags }).chain(others)
}

/// Whether packets of this session would come to another worker than the one that has it.
pub fn is_moved(before: &Snapshot, after: &Snapshot, session: &SessionSnapshot<V4Key>) -> bool {
    if after.steering.workers() == 1 {
        return false;
    }
    [session.original, session.reply].iter().any(|key| {
        let (tuple, from) = (key.tuple(), (key.realm(), key.zone()));
        before.steering.owner(&tuple, from, &before.local) != after.steering.owner(&tuple, from, &after.local)
    })
}

/// The interface that the first packet came in by, as far as its key tells: that which the route back leads to, or any on
/// the side and in the zone of it.
fn arrival(snapshot: &Snapshot, original: &V4Key) -> Option<InterfaceId> {
    let fits = |id: InterfaceId| {
        let interface = snapshot.interface(id);
        interface.realm == original.realm() && interface.zone == original.zone()
    };
    let back = snapshot.route_in(original.zone(), original.tuple().src).map(|hop| hop.interface);
    let all = || (0u8..).take(snapshot.interfaces.len()).map(InterfaceId);
    back.filter(|id| fits(*id)).or_else(|| match original.realm() {
        Realm::External => all().find(|id| fits(*id)),
        Realm::Internal => None,
    })
}

/// Whether the translation that was planned is that of the session, but for which of the free ports it has got.
fn leads_there(snapshot: &Snapshot, planned: &SessionPlan, session: &SessionSnapshot<V4Key>) -> bool {
    let (from, to) = (session.original.tuple(), session.reply.tuple().inverse());
    let answers_from = (session.reply.realm(), session.reply.zone());
    let there = (planned.dst, planned.dport) == (to.dst, to.dport);
    if planned.answers_from != answers_from || !there && !is_backend(snapshot, planned, from, to) {
        return false;
    }
    let Some(source) = planned.source else {
        return (to.src, to.sport) == (planned.towards(from).src, from.sport);
    };
    let gives = |number: u16| {
        snapshot.local.get(number).is_some_and(|local| {
            let has_port = local.ports.as_ref().is_some_and(|ports| ports.contains(&to.sport));
            local.address == to.src && (has_port || protocol::is_portless(to.protocol))
        })
    };
    if let Some(share) = source.share {
        return gives(source.number)
            && (protocol::is_portless(to.protocol) || share.ports().contains(&to.sport));
    }
    match source_of(snapshot, planned.rule, session) {
        // Which address of the pool a subscriber has depends on how many there are: any will do.
        Some(Source::Pool(pool)) => {
            snapshot.pools.get(pool).is_some_and(|numbers| numbers.iter().any(|number| gives(*number)))
        }
        _ => gives(source.number),
    }
}

/// Whether the session goes to another backend of the forward that would make it: it keeps the one that it has.
fn is_backend(snapshot: &Snapshot, planned: &SessionPlan, from: Tuple, to: Tuple) -> bool {
    let Rule::Dnat(rule) = planned.rule else { return false };
    let mut here = snapshot.local.iter().zip(0u16..).filter(|(local, _)| local.address == from.dst);
    here.any(|(_, number)| {
        let forward = snapshot.local.forward(number, from.protocol, from.dport);
        forward.is_some_and(|forward| {
            forward.rule == rule && forward.target_at(from.dport, to.dst, to.dport).is_some()
        })
    })
}

fn source_of(snapshot: &Snapshot, rule: Rule, session: &SessionSnapshot<V4Key>) -> Option<Source> {
    match rule {
        Rule::Snat(number) => snapshot.snat.get(usize::try_from(number).ok()?)?.source,
        Rule::Dnat(_) => {
            let Tuple { dst, dport, protocol, .. } = session.original.tuple();
            let number = snapshot.local.find(session.original.zone(), dst)?;
            snapshot.local.forward(number, protocol, dport)?.source
        }
        Rule::Static(_) | Rule::Notrack(_) => None,
    }
}

/// Whether sessions use everything that is known only for them.
pub fn is_all_used(snapshot: &Snapshot, in_use: &InUse) -> bool {
    let mut retired =
        (0u16..).zip(snapshot.local.iter()).filter(|(_, l)| l.retired && !l.address.is_unspecified());
    retired.all(|(number, _)| in_use.addresses.contains(&number))
        && snapshot.local.backends().all(|(backend, declared)| declared || in_use.backends.contains(backend))
}
