//! Neighbours: what workers hear and ask goes into the one table, what changes there goes to every worker.

use super::Management;
use crate::ids::InterfaceId;
use crate::pipeline::message::{FromWorker, ToWorker};
use crate::route::neighbors::{Action, Neighbor};
use crate::time::Time;
use std::net::Ipv4Addr;

impl Management {
    /// Every neighbour, if anything changed since the last call.
    pub fn neighbors_if_changed(&mut self) -> Option<Vec<Neighbor>> {
        std::mem::take(&mut self.neighbors_changed).then(|| self.neighbors.iter().collect())
    }

    /// Looks for a neighbour's state, for tests and display.
    pub fn neighbor(&self, interface: InterfaceId, address: Ipv4Addr) -> Option<Neighbor> {
        self.neighbors.iter().find(|n| n.interface == interface && n.address == address)
    }

    /// Asks again for neighbours that did not answer, and for those that have not been heard of for long.
    pub(super) fn poll_neighbors(&mut self, now: Time) {
        let mut actions = Vec::new();
        self.neighbors.poll(now, &mut |action| actions.push(action));
        self.act(&actions, None);
        self.watch_routers(now, &actions);
    }

    pub(super) fn read(&mut self, now: Time, worker: usize, message: FromWorker) {
        let mut actions = Vec::new();
        match message {
            FromWorker::Heard { interface, address, mac, asks_us } => {
                self.neighbors
                    .heard(now, (interface, address), mac, asks_us, &mut |action| actions.push(action));
                self.act(&actions, None);
                self.watch_routers(now, &actions);
            }
            FromWorker::Resolve { interface, address } => {
                self.neighbors.resolve(now, interface, address, &mut |action| actions.push(action));
                // What is known already is only news to the worker that asked.
                self.act(&actions, Some(worker));
            }
            FromWorker::Block(event) => self.tell_of_block(&event),
            FromWorker::Answered { zone, question, refused } => {
                self.hear_backend(zone, &question, refused, now);
            }
            FromWorker::Left(memory) => drop(memory),
        }
    }

    fn act(&mut self, actions: &[Action], only: Option<usize>) {
        for action in actions {
            self.neighbors_changed = true;
            for worker in 0..self.links.len() {
                let news = match *action {
                    Action::Request { .. } if worker > 0 => continue,
                    Action::Request { interface, address, mac } => {
                        let sender = self.snapshot.interface(interface).address_towards(address);
                        self.post(0, ToWorker::AskNeighbor { interface, sender, target: address, mac });
                        continue;
                    }
                    Action::Resolved { interface, address, mac } => {
                        ToWorker::Neighbor { interface, address, mac }
                    }
                    Action::Gone { interface, address } => ToWorker::NeighborGone { interface, address },
                };
                if only.is_none_or(|only| only == worker) {
                    self.post(worker, news);
                }
            }
        }
    }
}
