//! What a scrape reads, and how its samples are written.
//!
//! Counters are read by what answers `/v1/status` and the like, so that both say the same.

use super::growth::by_protocol;
use super::list::{Kind, Metric};
use crate::classify::notrack::Way;
use crate::conntrack::class::Class as Worth;
use crate::control::one_way::Known;
use crate::control::reload::ReloadStats;
use crate::control::running::Running;
use crate::control::session_routes::Tables;
use crate::control::state::ControlState;
use crate::control::{api, backends, pools, routes, rules, steering};
use crate::management::health::{BackendStatus, Vitals};
use crate::pipeline::snapshot::Class;
use crate::telemetry::notrack::ClassTotals;
use crate::telemetry::{AlgEvent, BURST_FILL_BOUNDS, Counter, Eviction, WorkerCounters};
use crate::time::{TICK, Time};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Of a rule's text, which may name very many prefixes, this much is in its label.
const RULE_CHARS: usize = 200;

/// One reading of everything.
pub(super) struct Scrape {
    pub(super) tables: Tables,
    pub(super) running: Arc<Running>,
    pub(super) status: api::Status,
    pub(super) drops: api::Drops,
    pub(super) interfaces: Vec<api::Interface>,
    pub(super) steering: api::Steering,
    pub(super) timers: Vec<api::WorkerTimers>,
    pub(super) health: api::Health,
    pub(super) pools: Vec<api::Pool>,
    pub(super) reloads: Arc<ReloadStats>,
    pub(super) backends: Arc<Vec<BackendStatus>>,
}

impl Scrape {
    pub(super) fn read(tables: &Tables) -> Scrape {
        let state = tables.state();
        let running = state.running.read();
        Scrape {
            status: routes::status(state),
            drops: routes::drops(state),
            interfaces: routes::interfaces(state),
            steering: steering::steering(state),
            timers: routes::timers(state).workers,
            health: tables.watch().health(state, Instant::now()),
            pools: pools::pools(&running, 1).pools,
            reloads: state.reloads.read(),
            backends: state.published.backends.read(),
            running,
            tables: tables.clone(),
        }
    }

    pub(super) fn state(&self) -> &ControlState {
        self.tables.state()
    }

    /// One sample for each worker's counters.
    pub(super) fn counters(&self, out: &mut Samples<'_>, pick: fn(&WorkerCounters) -> u64) -> fmt::Result {
        let mut workers = self.state().workers.iter().enumerate();
        workers.try_for_each(|(number, worker)| out.put(&[&number.to_string()], pick(worker)))
    }

    /// The same in seconds.
    pub(super) fn seconds(&self, out: &mut Samples<'_>, nanos: fn(&WorkerCounters) -> u64) -> fmt::Result {
        let mut workers = self.state().workers.iter().enumerate();
        workers.try_for_each(|(number, worker)| {
            out.put(&[&number.to_string()], Duration::from_nanos(nanos(worker)).as_secs_f64())
        })
    }

    /// One sample for each worker's row in the status.
    pub(super) fn workers(&self, out: &mut Samples<'_>, pick: fn(&api::WorkerStatus) -> u64) -> fmt::Result {
        let mut workers = self.status.workers.iter();
        workers.try_for_each(|row| out.put(&[&row.worker.to_string()], pick(row)))
    }

    /// One sample for each interface.
    pub(super) fn interfaces(&self, out: &mut Samples<'_>, pick: fn(&api::Interface) -> u64) -> fmt::Result {
        self.interfaces.iter().try_for_each(|row| out.put(&[&row.name], pick(row)))
    }

    /// One sample for each interface's steering.
    pub(super) fn plans(
        &self,
        out: &mut Samples<'_>,
        pick: fn(&api::InterfaceSteering) -> u64,
    ) -> fmt::Result {
        self.steering.interfaces.iter().try_for_each(|row| out.put(&[&row.name], pick(row)))
    }

    /// One sample for each worker's timers.
    pub(super) fn timers(&self, out: &mut Samples<'_>, pick: fn(&api::WorkerTimers) -> u64) -> fmt::Result {
        self.timers.iter().try_for_each(|row| out.put(&[&row.worker.to_string()], pick(row)))
    }

    /// One sample for each notrack class.
    pub(super) fn classes(&self, out: &mut Samples<'_>, pick: fn(&Class, Known) -> bool) -> fmt::Result {
        let now = Instant::now();
        self.running.snapshot.classes.iter().try_for_each(|class| {
            out.put(&[&class.name], pick(class, self.tables.watch().class(&class.name, now)))
        })
    }

    /// One sample for each way of each notrack class, or none.
    pub(super) fn classes_each_way<V: Into<Value>>(
        &self,
        out: &mut Samples<'_>,
        pick: impl Fn(&ClassTotals, usize) -> Option<V>,
    ) -> fmt::Result {
        for class in &self.running.snapshot.classes {
            let totals = class.counters.totals();
            for way in [Way::There, Way::Back] {
                let Some(value) = pick(&totals, way as usize) else { continue };
                out.put(&[&class.name, way.name()], value)?;
            }
        }
        Ok(())
    }

    /// One sample for each pool with blocks of ports.
    pub(super) fn blocks(&self, out: &mut Samples<'_>, pick: fn(api::BlockCount) -> u64) -> fmt::Result {
        let with_blocks = self.pools.iter().filter_map(|pool| Some((pool, pool.blocks?)));
        with_blocks
            .into_iter()
            .try_for_each(|(pool, blocks)| out.put(&[&pool.name, &pool.kind], pick(blocks)))
    }

    /// One sample for each pool and kind of port.
    pub(super) fn ports(&self, out: &mut Samples<'_>, pick: fn(&api::Pool) -> api::PortCount) -> fmt::Result {
        for pool in &self.pools {
            for (protocol, value) in by_protocol(pick(pool)) {
                out.put(&[&pool.name, &pool.kind, protocol], value)?;
            }
        }
        Ok(())
    }
}

/// What takes more than a line.
impl Scrape {
    pub(super) fn neighbors(&self, out: &mut Samples<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<_, u64>::new();
        for row in self.state().published.neighbors.read().iter() {
            *counts.entry((row.interface.index(), row.state)).or_default() += 1;
        }
        for ((interface, state), count) in counts {
            let Some(interface) = self.interfaces.get(interface) else { continue };
            out.put(&[&interface.name, state], count)?;
        }
        Ok(())
    }

    /// One sample for each backend that is asked; of several that differ only in how often they are, the first.
    pub(super) fn backends(&self, out: &mut Samples<'_>, pick: fn(&Vitals) -> u64) -> fmt::Result {
        let mut seen = HashSet::new();
        for BackendStatus { patient, vitals } in self.backends.iter() {
            let check = backends::kind(patient);
            if seen.insert((patient.address, patient.port, patient.zone, check)) {
                let labels =
                    [patient.address.to_string(), patient.port.to_string(), patient.zone.to_string()];
                let [address, port, zone] = &labels;
                out.put(&[address, port, zone, check], pick(vitals))?;
            }
        }
        Ok(())
    }

    pub(super) fn by_class(&self, out: &mut Samples<'_>) -> fmt::Result {
        for (number, class) in Worth::ALL.into_iter().enumerate() {
            let gauges = self.state().workers.iter().filter_map(|worker| worker.classes.get(number));
            out.put(&[class.name()], gauges.map(Counter::get).sum::<u64>())?;
        }
        Ok(())
    }

    pub(super) fn evicted(&self, out: &mut Samples<'_>) -> fmt::Result {
        Eviction::ALL.iter().try_for_each(|eviction| {
            let counters = self.state().workers.iter().map(|worker| &worker.evictions[*eviction as usize]);
            out.put(&[eviction.name()], counters.map(Counter::get).sum::<u64>())
        })
    }

    pub(super) fn alg_events(&self, out: &mut Samples<'_>) -> fmt::Result {
        AlgEvent::ALL.iter().try_for_each(|event| {
            let counters = self.state().workers.iter().map(|worker| &worker.alg[*event as usize]);
            out.put(&[event.name()], counters.map(Counter::get).sum::<u64>())
        })
    }

    pub(super) fn rule_sessions(&self, out: &mut Samples<'_>) -> fmt::Result {
        for rule in rules::makers(&self.running) {
            let Some(sessions) = rule.sessions else { continue };
            let text: String = rule.text.chars().take(RULE_CHARS).collect();
            out.put(&[&rule.kind, &rule.number.to_string(), &text], sessions)?;
        }
        Ok(())
    }

    pub(super) fn last_packets(&self, out: &mut Samples<'_>) -> fmt::Result {
        let started = self.state().started;
        self.classes_each_way(out, |class, way| {
            let at = started.wall_of(Time::ZERO + TICK * class.last[way]?.0);
            Some(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
        })
    }

    pub(super) fn fullest(&self, out: &mut Samples<'_>) -> fmt::Result {
        for pool in &self.pools {
            let Some(address) = pool.fullest.first() else { continue };
            let shares = by_protocol(address.used).into_iter().zip(by_protocol(address.usable));
            let shares = shares.map(|((_, used), (_, usable))| real(used) / real(usable.max(1)));
            out.put(&[&pool.name, &pool.kind], shares.fold(0.0, f64::max))?;
        }
        Ok(())
    }

    pub(super) fn time_to_exhaustion(&self, out: &mut Samples<'_>) -> fmt::Result {
        for pool in &self.pools {
            let left = self.tables.watch().time_to_exhaustion(pool);
            for ((protocol, _), left) in by_protocol(pool.usable).into_iter().zip(left) {
                let Some(left) = left else { continue };
                out.put(&[&pool.name, &pool.kind, protocol], left.as_secs_f64())?;
            }
        }
        Ok(())
    }

    pub(super) fn bursts(&self, out: &mut Samples<'_>) -> fmt::Result {
        for row in &self.status.workers {
            let buckets: Vec<_> = BURST_FILL_BOUNDS.into_iter().zip(row.burst_fill).collect();
            out.histogram(&[&row.worker.to_string()], row.counts.rx, &buckets)?;
        }
        Ok(())
    }
}

/// A value as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Signed(i64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Signed(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Whole(value.into())
    }
}

/// No exemplars are written.
type NoExemplar = Exemplar<Vec<(&'static str, &'static str)>, f64>;

/// Where the samples of one metric go.
pub(super) struct Samples<'a> {
    metric: &'static Metric,
    encoder: MetricEncoder<'a>,
}

impl Samples<'_> {
    /// Writes a sample. `values` are those of the metric's labels, in their order.
    pub(super) fn put(&mut self, values: &[&str], value: impl Into<Value>) -> fmt::Result {
        let labels = labels(self.metric, values);
        let kind = self.metric.kind;
        let write = |encoder: &mut MetricEncoder<'_>| match (kind, value.into()) {
            (Kind::Info, _) => encoder.encode_info(&labels),
            (Kind::Counter, Value::Whole(value)) => encoder.encode_counter(&value, None::<&NoExemplar>),
            (Kind::Counter, Value::Real(value)) => encoder.encode_counter(&value, None::<&NoExemplar>),
            (_, Value::Whole(value)) => encoder.encode_gauge(&value),
            (_, Value::Real(value)) => encoder.encode_gauge(&value),
            (_, Value::Signed(value)) => encoder.encode_gauge(&value),
        };
        if labels.is_empty() || kind == Kind::Info {
            return write(&mut self.encoder);
        }
        write(&mut self.encoder.encode_family(&labels)?)
    }

    /// Writes a histogram: the sum of what was observed, and how many observations there were up to each bound, and of no
    /// smaller one.
    pub(super) fn histogram(&mut self, values: &[&str], sum: u64, buckets: &[(u8, u64)]) -> fmt::Result {
        let labels = labels(self.metric, values);
        let count = buckets.iter().map(|(_, count)| count).sum();
        let bounded = buckets.iter().map(|(bound, count)| (f64::from(*bound), *count));
        let buckets: Vec<_> = bounded.chain([(f64::INFINITY, 0)]).collect();
        let mut encoder = self.encoder.encode_family(&labels)?;
        encoder.encode_histogram(
            real(sum),
            count,
            &buckets,
            None::<&std::collections::HashMap<usize, NoExemplar>>,
        )
    }
}

fn labels<'v>(metric: &Metric, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    metric.labels.iter().copied().zip(values.iter().copied()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a float is what the format has; exact up to 2^53")]
fn real(value: u64) -> f64 {
    value as f64
}

/// What a name may end in to say its unit.
const UNITS: [(&str, Unit); 2] = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];

impl Metric {
    /// Writes the metric with all of its samples.
    pub(super) fn write(&'static self, scrape: &Scrape, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
            Kind::Histogram => MetricType::Histogram,
        };
        // The library adds what OpenMetrics asks for: unit, `_total`, `_info`.
        let stem = self.name.strip_suffix("_total").or_else(|| self.name.strip_suffix("_info"));
        let stem = stem.unwrap_or(self.name);
        let unit = UNITS.iter().find_map(|(end, unit)| Some((stem.strip_suffix(end)?, unit)));
        let (stem, unit) = unit.map_or((stem, None), |(stem, unit)| (stem, Some(unit)));
        let encoder = encoder.encode_descriptor(stem, self.help, unit, kind)?;
        (self.read)(scrape, &mut Samples { metric: self, encoder })
    }
}
