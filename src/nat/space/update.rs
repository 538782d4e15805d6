//! Another configuration for a worker's ports.
//!
//! What changes of an address is made by somebody else, [`PortUpdate`], and swapped in ([`PortSpace::adopt`]); it takes over what is
//! taken when the address is needed next. No port that is taken is free under any configuration.

use super::{PortSpace, SETS, Sets, Slot, blocks};
use crate::classify::{LocalAddress, LocalAddresses};
use crate::ids::WorkerId;
use crate::nat::behavior::Sharing;
use crate::nat::ports::PortSet;
use crate::steering::Steering;
use crate::steering::classes::Classes;
use std::ops::RangeInclusive;

/// What another configuration changes about a worker's ports: made by somebody else, since a worker takes no memory. After
/// [`PortSpace::adopt`] it holds what the worker has no use for any more, to be freed by somebody else.
#[derive(Debug)]
pub struct PortUpdate(Box<[Slot]>);

/// The sets of an address of which nothing is taken; `None` if nothing is translated to it.
pub(super) fn sets(local: &LocalAddresses, steering: &Steering, number: u16) -> Option<Box<Sets>> {
    let address = local.get(number)?;
    address.ports.as_ref()?;
    let (by_range, in_order) = (address.behavior.sharing != Sharing::Ports, Classes::one());
    let set = |protocol| {
        let by_port = || steering.classes(protocol, address.behavior.keeps_mappings(protocol));
        let classes = if by_range { &in_order } else { by_port() };
        PortSet::new(classes, |port| local.is_allocatable(number, protocol, port))
    };
    let mapped = SETS.map(|protocol| address.behavior.keeps_mappings(protocol));
    let rest = SETS.map(|protocol| address.behavior.rest(protocol));
    let (ports, address) = (SETS.map(set), address.address);
    Some(Box::new(Sets { ports, mapped, rest, by_range, blocks: None, address }))
}

/// Whether what may be given out of a local address is the same in both.
fn is_same(number: u16, before: &LocalAddresses, after: &LocalAddresses) -> bool {
    let taken = |local: &LocalAddresses| -> Vec<(u8, RangeInclusive<u16>)> {
        let forwards =
            local.forwards_of(number).iter().map(|forward| (forward.protocol, forward.ports.clone()));
        let formers = local.formers_of(number).iter().map(|former| {
            let (first, more) = (former.public.1, former.ports.end() - former.ports.start());
            (former.protocol, first..=first.saturating_add(more))
        });
        forwards.chain(formers).collect()
    };
    match (before.get(number), after.get(number)) {
        (Some(old), Some(new)) => {
            let kept = |local: &LocalAddress| {
                SETS.map(|protocol| (local.behavior.keeps_mappings(protocol), local.behavior.rest(protocol)))
            };
            let sharing = |local: &LocalAddress| std::mem::discriminant(&local.behavior.sharing);
            let same = old.ports == new.ports && sharing(old) == sharing(new);
            let both = !old.retired && !new.retired;
            same && both && kept(old) == kept(new) && (new.ports.is_none() || taken(before) == taken(after))
        }
        _ => false,
    }
}

impl PortUpdate {
    /// The way from one configuration to the next, for each worker. Both number their addresses alike.
    pub fn between(
        before: &LocalAddresses,
        after: &LocalAddresses,
        steering: &Steering,
        workers: u8,
    ) -> Vec<PortUpdate> {
        let fresh: Vec<Option<Box<Sets>>> = (0..)
            .zip(after.iter())
            .map(|(number, local)| {
                let changed = local.ports.is_some() && !is_same(number, before, after);
                if changed { sets(after, steering, number) } else { None }
            })
            .collect();
        let slots = |worker: WorkerId| {
            (0..).zip(after.iter().zip(&fresh)).map(move |(number, (local, fresh))| {
                let is_there = !local.address.is_unspecified();
                let (mut next, keep) = (fresh.clone(), fresh.is_none() && is_there);
                if let Some(next) = &mut next {
                    next.blocks = blocks::map(after, number, worker);
                }
                Slot { sets: None, next, spent: None, keep, used: local.used.clone() }
            })
        };
        (0..workers).map(|worker| PortUpdate(slots(WorkerId(worker)).collect())).collect()
    }
}

impl PortSpace {
    /// Goes over to another configuration: some instructions for each address. What is left over is in the update then.
    pub fn adopt(&mut self, update: &mut PortUpdate) {
        let PortUpdate(slots) = update;
        for (new, old) in slots.iter_mut().zip(&mut self.slots) {
            if new.keep {
                new.sets = old.sets.take();
                new.next = old.next.take();
            } else if new.next.is_some() {
                // What an earlier configuration would have changed and had no time to: nothing is taken of it.
                new.sets = old.sets.take();
            } else if let Some(map) = old.sets.as_mut().and_then(|sets| sets.blocks.as_mut()) {
                blocks::abandon(&mut self.blocks, map, &mut self.orphans);
            }
        }
        for new in slots.iter_mut().filter(|slot| slot.sets.is_none()) {
            new.sets = new.next.take();
        }
        std::mem::swap(&mut self.slots, slots);
        self.crowds.forget();
    }

    /// Before anything is done with an address: what replaces it takes over.
    #[inline]
    pub(super) fn ready(&mut self, number: u16) {
        if self.slots.get(usize::from(number)).is_some_and(|slot| slot.next.is_some()) {
            self.replace(number);
        }
    }

    #[cold]
    fn replace(&mut self, number: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        let Some(mut next) = slot.next.take() else { return };
        if let Some(sets) = &mut slot.sets {
            let (mapped, was_mapped) = (next.mapped, sets.mapped);
            let orders = [&self.alone, &self.in_order];
            let (order, before) = (orders[usize::from(next.by_range)], orders[usize::from(sets.by_range)]);
            for (at, (new, old)) in next.ports.iter_mut().zip(&mut sets.ports).enumerate() {
                // What is shared is never taken.
                if mapped[at] && was_mapped[at] {
                    if next.by_range == sets.by_range {
                        new.inherit(old);
                    } else {
                        new.inherit_reordered(order, old, before);
                    }
                }
            }
            blocks::hand_on(&mut self.blocks, sets, &mut next, &mut self.orphans);
        }
        slot.spent = slot.sets.replace(next);
    }
}
