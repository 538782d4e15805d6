//! Routes and rules: lists whose order has a meaning. And bans, which are a set.

use super::align::{Block, align};
use super::words::Member;
use super::{ChangeKind, Diff, words};
use crate::config::UNTRANSLATED;
use crate::config::model::{BanRule, Config, DnatRule, InterfaceConfig, RouteConfig, SnatRule, StaticRule};
use crate::conntrack::policy::TrackRule;
use crate::ids::InterfaceId;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::Ipv4Addr;

/// A list of rules of both configurations.
pub(super) struct Lists<'c, R, M, A> {
    pub(super) before: &'c Config,
    pub(super) after: &'c Config,
    pub(super) list: fn(&Config) -> &[R],
    /// What a rule matches, with names instead of numbers.
    pub(super) matches: fn(&'c Config, &'c R) -> M,
    /// What it does.
    pub(super) does: fn(&'c Config, &'c R) -> A,
    /// The same in words.
    pub(super) matches_words: fn(&Config, &R) -> String,
    pub(super) does_words: fn(&Config, &R) -> String,
    /// Whether it matters where in its list a new rule is.
    pub(super) ordered: bool,
}

impl<'c, R: 'c, M: Hash + Eq + Clone, A: Hash + Eq + Clone> Lists<'c, R, M, A> {
    pub(super) fn compare(&self, diff: &mut Diff) {
        let (old, new) = ((self.list)(self.before), (self.list)(self.after));
        let keys = |config: &'c Config, rules: &'c [R]| -> Vec<(M, A)> {
            rules.iter().map(|rule| ((self.matches)(config, rule), (self.does)(config, rule))).collect()
        };
        let alignment = align(&keys(self.before, old), &keys(self.after, new));
        for rule in alignment.removed.iter().filter_map(|index| old.get(*index)) {
            diff.removed(self.words(self.before, rule));
        }
        for (index, rule) in alignment.added.iter().filter_map(|index| Some((*index, new.get(*index)?))) {
            let words = self.words(self.after, rule);
            // The last place is where rules are looked for.
            let place = self.ordered && index + 1 < new.len();
            diff.added(if place { format!("{words}, place {}", index + 1) } else { words });
        }
        for (old, new) in alignment.changed.iter().filter_map(|(a, b)| old.get(*a).zip(new.get(*b))) {
            let what = (self.matches_words)(self.after, new);
            let before = (self.does_words)(self.before, old);
            diff.push(ChangeKind::Changed, what, Some(before), Some((self.does_words)(self.after, new)));
        }
        for block in alignment.moved {
            self.moved(diff, new, block);
        }
    }

    fn words(&self, config: &Config, rule: &R) -> String {
        format!("{} -> {}", (self.matches_words)(config, rule), (self.does_words)(config, rule))
    }

    fn moved(&self, diff: &mut Diff, new: &[R], Block { before, after, count }: Block) {
        let Some(first) = new.get(after) else { return };
        let words = self.words(self.after, first);
        let what = match count {
            1 => words,
            count => format!("{words} and {} more behind it", count - 1),
        };
        let (before, after) = (format!("place {}", before + 1), (after + 1).to_string());
        diff.push(ChangeKind::Moved, what, Some(before), Some(after));
    }
}

pub(super) fn routes(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.routes,
        matches: |config, RouteConfig { to, via: _, interface }| {
            (*to, config.interfaces.get(interface.index()).map(|interface| interface.zone))
        },
        does: |config, RouteConfig { to: _, via, interface }| {
            (*via, words::interface_name(config, *interface))
        },
        matches_words: words::route,
        does_words: |config, route| {
            format!("{} on {}", route.via, words::interface_name(config, route.interface))
        },
        ordered: false,
    }
    .compare(diff);
}

pub(super) fn statics(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.statics,
        matches: |config, StaticRule { internal, zone, out, external: _, inbound: _ }| {
            (*internal, *zone, out.map(|id| words::interface_name(config, id)))
        },
        does: |_, rule| (rule.external, rule.inbound),
        matches_words: words::fixed,
        does_words: |_, rule| {
            format!("{}{}", rule.external, if rule.inbound { "" } else { " inbound = false" })
        },
        // They do not overlap.
        ordered: false,
    }
    .compare(diff);
}

pub(super) fn snat(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.snat,
        matches: |config, rule| {
            let SnatRule { on, zone, from, from_ports, to, ports, protocols, out, source: _, mss_clamp: _ } =
                rule;
            let interfaces =
                (words::interface_names(config, on), out.map(|id| words::interface_name(config, id)));
            let addresses = (words::members(config, from), words::members(config, to));
            (interfaces, *zone, addresses, from_ports.as_slice(), ports.as_slice(), protocols.as_slice())
        },
        does: |config, rule| (rule.source.map(|source| words::pool_name(config, source)), rule.mss_clamp),
        matches_words: words::snat,
        does_words: |config, rule| {
            let source =
                rule.source.map_or_else(|| UNTRANSLATED.to_owned(), |source| words::source(config, source));
            let clamp = rule.mss_clamp.map(|bytes| format!(" mss_clamp {bytes}"));
            source + &clamp.unwrap_or_default()
        },
        ordered: true,
    }
    .compare(diff);
}

/// The address that clients use: an interface's primary one is the same if another one is primary, as `on` names it.
fn target<'c>(config: &'c Config, rule: &DnatRule) -> (Option<Ipv4Addr>, Option<&'c str>) {
    let interface = |id: InterfaceId| config.interfaces.get(id.index());
    let own = rule.interface.and_then(interface);
    let primary = own.map(InterfaceConfig::primary) == Some(rule.address);
    ((!primary).then_some(rule.address), own.map(|own| own.name.as_str()))
}

pub(super) fn dnat(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.dnat,
        matches: |config, rule| (target(config, rule), rule.protocol, *rule.ports.start(), *rule.ports.end()),
        does: |config, rule| {
            let DnatRule {
                address: _,
                interface: _,
                protocol: _,
                ports: _,
                backends,
                affinity,
                affinity_timeout,
                health,
                zone,
                source,
                syn_proxy,
                drain,
            } = rule;
            let source = source.map(|source| words::pool_name(config, source));
            (backends.as_slice(), (*affinity, *affinity_timeout, *health), *zone, source, *syn_proxy, *drain)
        },
        matches_words: |_, rule| words::dnat(rule),
        does_words: words::backend,
        // A port is forwarded once, so none comes before another.
        ordered: false,
    }
    .compare(diff);
}

pub(super) fn track(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.conntrack.rules,
        matches: |config, TrackRule { on, from, to, protocol, ports, timeouts: _, mark: _ }| {
            let on = on.map(|id| words::interface_name(config, id));
            let ports = ports.as_ref().map(|ports| (*ports.start(), *ports.end()));
            (on, from.as_slice(), to.as_slice(), *protocol, ports)
        },
        does: |config, rule| (words::set_name(config, rule.timeouts), rule.mark),
        matches_words: words::track,
        does_words: words::treatment,
        ordered: true,
    }
    .compare(diff);
}

/// In what tables they are written has no meaning.
pub(super) fn bans(diff: &mut Diff, before: &Config, after: &Config) {
    type Banned<'c> = BTreeMap<Option<u16>, BTreeSet<Member<'c>>>;
    fn by_zone(config: &Config) -> Banned<'_> {
        let mut sets = Banned::new();
        for BanRule { zone, from } in &config.bans {
            sets.entry(*zone).or_default().extend(words::members(config, from));
        }
        sets
    }
    let (old, new) = (by_zone(before), by_zone(after));
    let words = |zone: Option<u16>, prefixes: &[Member<'_>]| {
        let zone = zone.map(|zone| format!(" zone {zone}")).unwrap_or_default();
        format!("ban {}{zone}", words::list(prefixes))
    };
    let missing = |from: &Banned<'_>, in_: &Banned<'_>| -> Vec<String> {
        let rest = from.iter().map(|(zone, banned)| {
            let others = in_.get(zone);
            let only = banned.iter().filter(|net| others.is_none_or(|others| !others.contains(net))).copied();
            (*zone, only.collect::<Vec<_>>())
        });
        rest.filter(|(_, only)| !only.is_empty()).map(|(zone, only)| words(zone, &only)).collect()
    };
    missing(&old, &new).into_iter().for_each(|what| diff.removed(what));
    missing(&new, &old).into_iter().for_each(|what| diff.added(what));
}
