//! The time of each piece of a check: `cargo bench --bench micro`.
//!
//! Owns: nothing but the loop; the pieces are in `hot`. Criterion compares with its last run here.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "hot/mod.rs"]
mod hot;

fn all(criterion: &mut Criterion) {
    for mut piece in hot::pieces() {
        let mut group = criterion.benchmark_group(piece.name);
        group.throughput(Throughput::Elements(piece.things));
        group.bench_function("each", |bencher| bencher.iter(|| (piece.work)()));
        group.finish();
    }
}

criterion_group! {
    name = pieces;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(pieces);
