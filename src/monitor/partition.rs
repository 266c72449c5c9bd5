//! Which shard owns a monitor.
//!
//! Owns: the rule. A monitor belongs to exactly one shard, by a hash of its id, so shards have
//! nothing to say to each other.

use crate::ids::{MonitorId, ShardId};
use crate::sched::spread::mix;

/// The owner of `id` among `shards` shards.
///
/// Rendezvous hashing: going from N to N+1 shards moves only the monitors of the new one.
pub fn owner(id: MonitorId, shards: u16) -> ShardId {
    let weight = |shard: &u16| mix(MonitorId(mix(id) ^ (u64::from(*shard) << 32)));
    ShardId((0..shards).max_by_key(weight).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_own_about_the_same_number_of_monitors() {
        let mut owned = [0u32; 8];
        for id in 0..80_000 {
            owned[usize::from(owner(MonitorId(id), 8).0)] += 1;
        }
        // 10,000 expected each; ten standard deviations are about 940.
        assert!(owned.iter().all(|count| (9_060..10_940).contains(count)), "{owned:?}");
    }

    #[test]
    fn a_further_shard_takes_monitors_and_moves_no_others() {
        for id in 0..5_000 {
            let before = owner(MonitorId(id), 4);
            let after = owner(MonitorId(id), 5);
            assert!(after == before || after == ShardId(4));
        }
    }
}
