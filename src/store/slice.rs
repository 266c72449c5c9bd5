//! A bounded piece of the head: the results of some head rows of one lane, and as chunks.
//!
//! Owns: what a slice is and how it is packed; the statements are each backend's own. A row that
//! cannot be unpacked is named and left out.

use super::fold::Touched;
use super::{StoreError, blob, unsigned};
use crate::ids::MonitorId;
use crate::limits::{COMPACT_SAMPLES_MAX, GROUP_BITS, LANE_BITS};
use crate::sample::Sample;

/// Results of some head rows of one lane.
#[derive(Default)]
pub(super) struct Slice {
    /// Sorted by monitor and due time after [`Slice::sort`].
    pub samples: Vec<Sample>,
    /// The last head row taken.
    pub last_seq: i64,
    /// True where there are more.
    pub more: bool,
    /// Head rows that cannot be unpacked, with the reason.
    pub damaged: Vec<(i64, String)>,
}

impl Slice {
    /// Adds a head row. False where the slice is full and the row is left for the next one.
    pub fn add(&mut self, t0: i64, lane: i64, seq: i64, data: &[u8]) -> bool {
        self.add_of(t0, lane, seq, data, |_| true)
    }

    /// As [`Slice::add`], of the monitors that are `wanted` only.
    pub fn add_of(
        &mut self,
        t0: i64,
        lane: i64,
        seq: i64,
        data: &[u8],
        wanted: impl Fn(MonitorId) -> bool,
    ) -> bool {
        if self.samples.len() >= COMPACT_SAMPLES_MAX {
            self.more = true;
            return false;
        }
        self.last_seq = seq;
        match blob::unpack_of(unsigned(lane) << LANE_BITS, unsigned(t0), data, wanted) {
            Ok(samples) => self.samples.extend(samples),
            Err(error) => self.damaged.push((seq, error.to_string())),
        }
        true
    }

    /// Call once all rows are added.
    pub fn sort(&mut self) {
        self.samples.sort_by_key(|sample| (sample.monitor, sample.due_ms));
    }

    /// What the results say of each monitor.
    pub fn by_monitor(&self) -> impl Iterator<Item = (MonitorId, Touched)> {
        let of_monitor = self.samples.chunk_by(|one, other| one.monitor == other.monitor);
        of_monitor.map(|samples| (samples[0].monitor, Touched::of_head(samples)))
    }

    /// The results, all of one window, as chunks: group, number of results and blob.
    pub fn chunks(&self, t0: i64) -> Result<Vec<(u64, usize, Vec<u8>)>, StoreError> {
        let group = |sample: &Sample| sample.monitor.0 >> GROUP_BITS;
        let mut chunks = Vec::new();
        for of_group in self.samples.chunk_by(|a, b| group(a) == group(b)) {
            let grp = group(&of_group[0]);
            let data = blob::pack(grp << GROUP_BITS, unsigned(t0), of_group)?;
            chunks.push((grp, of_group.len(), data));
        }
        Ok(chunks)
    }
}
