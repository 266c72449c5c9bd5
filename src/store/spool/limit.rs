//! How large the spool may be, what it counts, and why it refuses.
//!
//! Owns: these three types. What is done at the bounds is in `thin`.

use std::io;

use super::frame;
use crate::limits::{
    SPOOL_BYTES_DEFAULT, SPOOL_BYTES_MIN, SPOOL_FREE_DIVISOR, SPOOL_RESERVE_DIVISOR,
    SPOOL_SEGMENT_BYTES_MAX, SPOOL_SEGMENTS_MIN,
};

/// How large the spool may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all segments together, in bytes.
    pub bytes_max: u64,
    /// Of one segment, in bytes; a larger batch has one for itself.
    pub segment_bytes: u64,
}

impl Bounds {
    /// At most `bytes_max`, in segments that leave room for the order in which things are dropped.
    pub fn of(bytes_max: u64) -> Bounds {
        let segment_bytes = (bytes_max / SPOOL_SEGMENTS_MIN).min(SPOOL_SEGMENT_BYTES_MAX);
        Bounds { bytes_max, segment_bytes }
    }

    /// The default, given the bytes of the disk that are free or the spool's already.
    pub fn for_disk(bytes: u64) -> Bounds {
        Bounds::of((bytes / SPOOL_FREE_DIVISOR).clamp(SPOOL_BYTES_MIN, SPOOL_BYTES_DEFAULT))
    }

    /// Bytes past the end of a segment for what is not a good result.
    pub(super) fn reserve(self) -> u64 {
        self.segment_bytes / SPOOL_RESERVE_DIVISOR
    }
}

/// Numbers about the spool. Those in the first group rise and fall; the others only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Bytes in segments.
    pub bytes: u64,
    /// Segments, with the one that is written.
    pub segments: u64,
    /// Records that wait for their replay.
    pub records: u64,
    /// When the oldest of them was written, in milliseconds since the Unix epoch; 0 for none.
    pub oldest_ms: u64,

    /// Batches appended.
    pub appended: u64,
    /// Batches given back to the store.
    pub replayed: u64,
    /// Good results dropped because there was no room.
    pub dropped_good: u64,
    /// Other results dropped because there was no room.
    pub dropped_other: u64,
    /// Bytes cut from the end of the last segment: a write that a crash cut short.
    pub torn_bytes: u64,
    /// Bytes set aside as damaged.
    pub quarantined_bytes: u64,
    /// Places with such bytes: each has cost one record or more.
    pub damaged: u64,
}

/// Why the spool cannot do what it is asked: always our own trouble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Written by a newer version.
    #[error(
        "spool file {file} has format {found}, this version of the engine knows {known}: start \
         the newer version until the spool is empty",
        known = frame::VERSION
    )]
    Version {
        /// Which file.
        file: String,
        /// The number in it.
        found: u32,
    },
    /// Nothing more can be dropped.
    #[error("the spool is full of changes of verdict: bring the database back, or make room")]
    Full,
    /// A file operation failed.
    #[error("spool: {what} {file}: {reason}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: String,
        /// The operating system's words.
        reason: String,
        /// The sort of error.
        kind: io::ErrorKind,
    },
}

impl SpoolError {
    /// True where more room would help.
    pub fn is_full(&self) -> bool {
        let SpoolError::Disk { kind, .. } = self else { return *self == SpoolError::Full };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}
