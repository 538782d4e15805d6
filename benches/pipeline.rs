//! The whole pipeline on one worker, without NIC I/O: real 64-byte UDP frames in, translated frames out.
//!
//! `cargo bench --bench pipeline` prints the time for a burst of 32 packets of known flows (`hit`) and of new ones
//! (`setup`), the generator's copy of each frame included. Flows come in random order; their frames are read in memory
//! order, so that the generator's own cache misses do not count. `cargo bench --bench budgets` prints the table
//! of the budgets.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natgate::device::BURST;
use std::time::Duration;
use support::replay::{Replay, hitting};

fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, flows) in [("1k", 1 << 10), ("64k", 1 << 16), ("1M", 1 << 20)] {
        let mut gateway = hitting(flows);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| Replay::burst(&mut gateway));
        });
        gateway.assert_all_sent();
        assert_eq!(gateway.counters.sessions_created.get(), u64::from(flows), "sessions");
    }
    group.finish();
}

fn set_ups(criterion: &mut Criterion) {
    const FLOWS: u32 = 1 << 18;
    let mut group = criterion.benchmark_group("setup");
    group.throughput(Throughput::Elements(BURST as u64)).sample_size(10);
    group.bench_function("256k", |b| {
        b.iter_custom(|bursts| {
            let mut left = bursts;
            let mut took = Duration::ZERO;
            while left > 0 {
                let now = left.min(u64::from(FLOWS) / BURST as u64);
                took += support::replay::time_set_ups(FLOWS, now);
                left -= now;
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, hits, set_ups);
criterion_main!(benches);
