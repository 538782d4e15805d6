//! What steering asks of a port: its hash, its redirection table, and rules for ports.
//!
//! [`super::Dpdk::nics`] lends a [`PortNic`] for each port, after the ports were started; while one is there, nobody else sets
//! anything on any port. Queues may be polled meanwhile. Rules go when the port closes.
//!
//! DPDK's error lines become reasons here and are no errors in the log: what a NIC can not do, workers do.

use super::port::Port;
use super::{eal, log};
use crate::steering::plan::{Ability, Nic, PortRule, Program};
use crate::steering::toeplitz::KEY_LEN;
use dpdk_sys::{ng_port_rule, ng_rss};
use std::ffi::{CStr, c_char};

const _: () = assert!(KEY_LEN == dpdk_sys::NG_KEY as usize, "one length of keys");

/// Error numbers of the shim that have words of their own here.
const ENOSYS: i32 = -38;
const EPROTO: i32 = -71;
const ENOTSUP: i32 = -95;

/// The most bytes of a driver's reason, with the zero at its end.
const REASON: usize = 256;

/// A started port as a NIC that can be steered by.
#[derive(Debug)]
pub struct PortNic<'a> {
    port: &'a Port,
    ability: Ability,
    /// What the driver agreed to last.
    agreed: Option<Program>,
    disobeyed: bool,
}

impl<'a> PortNic<'a> {
    /// Asks the port what it can do. The port is started, and nobody else sets anything on it.
    pub(super) fn new(port: &'a Port) -> PortNic<'a> {
        let mut rss = ng_rss { table: 0, hashes_ports: false };
        // SAFETY: the port is started; a place for the answer.
        let result = quietly(|| unsafe { dpdk_sys::ng_rss_ability(port.id(), &raw mut rss) });
        let queues = port.rx_queues();
        let ability = match result {
            0 => Ability { queues, table: rss.table, hashes_ports: rss.hashes_ports },
            _ => Ability { queues, ..Ability::default() },
        };
        PortNic { port, ability, agreed: None, disobeyed: false }
    }

    /// Whether the driver took the last order and the NIC then said that it does something else.
    pub fn disobeyed(&self) -> bool {
        self.disobeyed
    }
}

impl Nic for PortNic<'_> {
    fn ability(&self) -> Ability {
        self.ability
    }

    fn program(&mut self, program: &Program) -> Result<(), String> {
        (self.agreed, self.disobeyed) = (None, false);
        let port = self.port.id();
        let entries = u16::try_from(program.table.len()).map_err(|_| "its table is too long".to_owned())?;
        let (key, ports) = (program.key.as_ptr(), program.hashes_ports);
        // SAFETY: the port is started and ours to set; a key of the length that the shim reads.
        let result = quietly(|| unsafe { dpdk_sys::ng_rss_set_hash(port, key, ports) });
        refusal("our key", result)?;
        let table = program.table.as_ptr();
        // SAFETY: the port is started and ours to set; `table` has so many entries.
        let result = quietly(|| unsafe { dpdk_sys::ng_rss_set_table(port, table, entries) });
        refusal("our redirection table", result)?;
        self.agreed = Some(program.clone());
        Ok(())
    }

    fn read_back(&mut self) -> Result<Program, String> {
        let port = self.port.id();
        let (mut key, mut hashes_ports) = ([0; KEY_LEN], false);
        // SAFETY: the port is started; places for the key and the answer.
        let result =
            quietly(|| unsafe { dpdk_sys::ng_rss_get_hash(port, key.as_mut_ptr(), &raw mut hashes_ports) });
        match result {
            0 => (),
            EPROTO => return Err("its hash is another one than Toeplitz's".into()),
            result => return Err(format!("its key can not be read ({})", reason(result))),
        }
        let entries = self.ability.table;
        let mut table = vec![0; usize::from(entries)];
        // SAFETY: the port is started; `table` has room for so many entries.
        let result = quietly(|| unsafe { dpdk_sys::ng_rss_get_table(port, table.as_mut_ptr(), entries) });
        if result != 0 {
            return Err(format!("its redirection table can not be read ({})", reason(result)));
        }
        let now = Program { key, table, hashes_ports };
        self.disobeyed = self.agreed.as_ref().is_some_and(|agreed| *agreed != now);
        Ok(now)
    }

    fn set_port_rules(&mut self, rules: &[PortRule]) -> Result<(), String> {
        let rules: Vec<ng_port_rule> =
            rules.iter().map(|&PortRule { port, mask, queue }| ng_port_rule { port, mask, queue }).collect();
        let count = u16::try_from(rules.len()).map_err(|_| "there are too many of them".to_owned())?;
        let mut why = [0 as c_char; REASON];
        let (port, rules, text) = (self.port.id(), rules.as_ptr(), why.as_mut_ptr());
        // SAFETY: the port is started and ours to set; so many rules, and room for so many bytes of text.
        let result = quietly(|| unsafe { dpdk_sys::ng_flow_set(port, rules, count, text, REASON) });
        if result == 0 {
            self.port.keep_rules();
            return Ok(());
        }
        if result == ENOSYS {
            return Err("its driver knows none".into());
        }
        // SAFETY: the shim ended the text with a zero.
        let why = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        Err(if why.is_empty() { reason(result) } else { why.trim_end_matches(['.', '\n']).to_owned() })
    }
}

/// Runs a call of the shim, whose errors are ours to tell.
fn quietly(call: impl FnOnce() -> i32) -> i32 {
    log::forget_errors();
    log::set_mode(log::Mode::Quiet);
    let result = call();
    log::set_mode(log::Mode::Normal);
    result
}

/// A result as one clause about the NIC.
fn refusal(what: &str, result: i32) -> Result<(), String> {
    match result {
        0 => Ok(()),
        ENOTSUP => Err(format!("its driver can not take {what}")),
        result => Err(format!("its driver refuses {what} ({})", reason(result))),
    }
}

fn reason(result: i32) -> String {
    log::first_error().unwrap_or_else(|| eal::reason_of(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_driver_would_not_take_and_why() {
        assert_eq!(refusal("our key", 0), Ok(()));
        assert_eq!(refusal("our key", ENOTSUP), Err("its driver can not take our key".into()));
    }
}
