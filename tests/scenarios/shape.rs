//! What scripts are played on: how many workers, what spreads packets over their queues, and what is asked of it.

use natgate::config::{self, Config};
use natgate::device::mem_nic::{Habit, MemNic};
use natgate::ids::Realm;
use natgate::steering::plan::{Candidate, Choices, Nic, Wish, choose};
use natgate::steering::{Spread, Steering};

/// What carries the packets to how many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    /// Receive and transmit queues of each device.
    pub(crate) queues: usize,
    /// What each device's NIC makes of what it is told, and the entries of its table; `None`: queues take turns.
    pub(crate) nic: Option<(Habit, u16)>,
    pub(crate) spread: Spread,
    pub(crate) wish: Wish,
    /// Whether plain packets of known sessions take the short way.
    pub(crate) short_way: bool,
}

impl Shape {
    /// Nothing is asked of NICs, and queues take turns.
    pub(crate) const fn plain(workers: usize, queues: usize) -> Shape {
        Shape { workers, queues, nic: None, spread: Spread::Source, wish: Wish::Software, short_way: true }
    }

    /// NICs with a queue for each worker.
    pub(crate) const fn nic(workers: usize, habit: Habit) -> Shape {
        Shape { nic: Some((habit, 128)), wish: Wish::Auto, ..Shape::plain(workers, workers) }
    }

    /// A host's flows are on all workers.
    pub(crate) const fn by_flow(self) -> Shape {
        Shape { spread: Spread::Flow, ..self }
    }

    /// External ports are workers', and NICs have rules for them.
    pub(crate) const fn port_rules(self) -> Shape {
        Shape { wish: Wish::PortRules, ..self }
    }

    /// NICs with a table of so many entries.
    pub(crate) const fn entries(self, entries: u16) -> Shape {
        let habit = match self.nic {
            Some((habit, _)) => habit,
            None => Habit::Honest,
        };
        Shape { nic: Some((habit, entries)), ..self }
    }

    /// All packets take one way.
    pub(crate) const fn without_short_way(self) -> Shape {
        Shape { short_way: false, ..self }
    }

    /// NICs with so many queues.
    pub(crate) const fn queues(self, queues: usize) -> Shape {
        Shape { queues, ..self }
    }
}

/// The shapes that every script is played in.
pub(crate) const SHAPES: [Shape; 21] = [
    Shape::plain(1, 1),
    Shape::plain(2, 2),
    Shape::plain(3, 3),
    Shape::plain(4, 4),
    Shape::plain(3, 1),
    Shape::plain(1, 1).without_short_way(),
    Shape::nic(2, Habit::Honest),
    Shape::nic(4, Habit::Honest),
    Shape::nic(2, Habit::Honest).by_flow(),
    Shape::nic(4, Habit::Honest).by_flow(),
    Shape::nic(3, Habit::Honest).port_rules(),
    Shape::nic(2, Habit::KeepsKey),
    Shape::nic(2, Habit::KeepsTable),
    Shape::nic(2, Habit::KeepsKeyAndTable).by_flow(),
    Shape::nic(2, Habit::StopsHashing),
    Shape::nic(2, Habit::StopsHashingInSecret),
    Shape::nic(2, Habit::RefusesRules).port_rules(),
    Shape::nic(2, Habit::IgnoresRules).port_rules(),
    Shape::nic(2, Habit::UdpByAddresses),
    Shape::nic(2, Habit::Refuses),
    Shape::nic(3, Habit::Honest).entries(100),
];

/// The shapes for scripts that take long: one of each plan.
pub(crate) const FEW: [Shape; 6] = [
    Shape::plain(1, 1),
    Shape::plain(2, 2),
    Shape::plain(3, 3),
    Shape::plain(3, 1),
    Shape::nic(4, Habit::Honest),
    Shape::nic(3, Habit::Honest).port_rules(),
];

/// The shapes in which a host lives on one worker.
pub(crate) fn by_host() -> impl Iterator<Item = Shape> {
    SHAPES.into_iter().filter(|shape| shape.spread == Spread::Source)
}

/// The NICs of a shape, and what becomes of asking them.
pub(crate) fn steer(config: &Config, shape: Shape) -> (Vec<MemNic>, Vec<Choices>, Steering) {
    let new = |(habit, entries)| MemNic::new(habit, shape.queues as u16, entries);
    let mut nics: Vec<MemNic> = config.devices.iter().filter_map(|_| shape.nic.map(new)).collect();
    let has = |device: usize, realm| {
        config
            .interfaces
            .iter()
            .any(|interface| interface.device.index() == device && interface.realm == realm)
    };
    let candidate = |(device, nic): (usize, _)| Candidate {
        nic,
        internal: has(device, Realm::Internal),
        external: has(device, Realm::External),
    };
    let asked = nics.iter_mut().map(|nic| nic as &mut dyn Nic).enumerate();
    let needs = config::compile::needs(config, 0x5eed);
    let (steering, plans) = choose(needs, &mut asked.map(candidate).collect::<Vec<_>>());
    (nics, plans, steering)
}
