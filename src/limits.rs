//! Every bound and default, with its unit and its reason.
//!
//! Owns: numbers. A bound that users may change is the default of a setting; the others are part
//! of the design and name what they protect.

/// Length of a scheduler tick, in milliseconds.
///
/// All checks due in a tick start together: waking a parked thread costs 120 to 150 µs of CPU, so
/// a million monitors must not wake it one by one. Ten milliseconds is the lag this buys.
pub const TICK_MS: u64 = 10;

/// Shortest interval of a monitor, in milliseconds.
pub const INTERVAL_MS_MIN: u64 = 1_000;
/// Longest interval of a monitor, in milliseconds: 30 days.
pub const INTERVAL_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Interval where none is given, in milliseconds.
pub const INTERVAL_MS_DEFAULT: u64 = 60_000;

/// Shortest total deadline of one attempt, in milliseconds.
pub const TIMEOUT_MS_MIN: u64 = 10;
/// Longest total deadline of one attempt, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 300_000;
/// Total deadline of one attempt where none is given, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Most further attempts within one check.
pub const RETRIES_MAX: u8 = 10;
/// Pause before a further attempt where none is given, in milliseconds.
pub const RETRY_DELAY_MS_DEFAULT: u64 = 5_000;

/// Most shards one process runs: more than any machine has CPUs today, and it fits the ids.
pub const SHARDS_MAX: usize = 1_024;

/// Probes in flight per shard where none is given, in probes; the descriptor limit may lower it.
pub const INFLIGHT_DEFAULT: usize = 8_192;
/// Descriptors kept for the store, logs, listeners and rings, in descriptors.
pub const DESCRIPTORS_RESERVED: usize = 256;

/// Most probes one turn of the shard loop may start, in probes.
///
/// Keeps a turn short enough (about 10 ms at 40 µs a start) that answers are still read on time.
pub const STARTS_PER_TURN_MAX: usize = 256;

/// A gap between turns above this, in milliseconds, is a stall of ours: due checks inside it are
/// missed with that reason instead of started in a burst.
pub const STALL_MS: u64 = 1_000;

/// A timeout is not believed, and a check is unknown(late), when the shard could not look at its
/// sockets for longer than this during the check, in milliseconds.
pub const LATE_MS_MAX: u64 = 500;

/// Samples in one batch from a shard to the store.
///
/// One at a time costs 374 ns and a wake-up each; 256 at a time 19 ns.
pub const BATCH_SAMPLES_MAX: usize = 256;
/// Longest a sample waits in an open batch, in milliseconds.
pub const BATCH_AGE_MS_MAX: u64 = 100;
/// Batches in the channel from one shard to the store.
pub const STORE_QUEUE_BATCHES_MAX: usize = 1_024;
/// Sealed batches a shard keeps while that channel is full, in batches; past it the oldest good
/// samples are dropped and counted.
pub const SHARD_BACKLOG_BATCHES_MAX: usize = 4_096;
/// Commands in the inbox of one shard. A loader waits when it is full.
pub const INBOX_COMMANDS_MAX: usize = 256;
/// Monitors in one command.
pub const COMMAND_MONITORS_MAX: usize = 1_024;

/// Entries of a shard's submission ring.
pub const RING_ENTRIES: u32 = 4_096;
/// Bytes read from a socket at a time; one buffer per shard.
pub const READ_BUFFER_BYTES: usize = 64 * 1_024;
/// Reads from one socket before the others get their turn.
pub const READS_PER_WAKE_MAX: usize = 16;

/// Body of an HTTP answer that is read where nothing is given, in bytes.
pub const HTTP_BODY_BYTES_DEFAULT: u32 = 1 << 20;
/// Largest body a monitor may ask to read, in bytes.
pub const HTTP_BODY_BYTES_MAX: u32 = 64 << 20;
/// Body the original reads, in bytes.
pub const HTTP_BODY_BYTES_ORIGINAL: u32 = 10_240;
/// Most redirects a monitor may ask to follow.
pub const REDIRECTS_MAX: u8 = 20;

/// Longest monitor name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest target, in bytes.
pub const TARGET_BYTES_MAX: usize = 2_048;
/// Most tags of one monitor.
pub const TAGS_MAX: usize = 32;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 64;
/// Most texts to look for in one body, of either sort.
pub const NEEDLES_MAX: usize = 32;
/// Longest text to look for, in bytes.
pub const NEEDLE_BYTES_MAX: usize = 1_024;

/// Time between commits of the store, in milliseconds.
pub const COMMIT_MS: u64 = 500;
/// Time that a stop may take to let checks in flight end, in milliseconds.
pub const DRAIN_MS_MAX: u64 = 8_000;

const _: () = assert!(INTERVAL_MS_MIN >= TICK_MS);
const _: () = assert!(INTERVAL_MS_MIN <= INTERVAL_MS_DEFAULT);
const _: () = assert!(TIMEOUT_MS_MIN >= TICK_MS && TIMEOUT_MS_DEFAULT <= TIMEOUT_MS_MAX);
const _: () = assert!(BATCH_SAMPLES_MAX <= u16::MAX as usize);
const _: () = assert!(BATCH_AGE_MS_MAX <= COMMIT_MS);

/// Memory that one shard's rings may lock, in bytes: what glommio 0.9 asks for at its start.
pub const SHARD_MEMLOCK_BYTES: u64 = 512 * 1_024;
/// Descriptors of one shard beside its probes: four rings, eventfds and ICMP sockets.
pub const SHARD_DESCRIPTORS: usize = 16;
/// Fewest probes in flight per shard that make a start worth while, in probes.
pub const INFLIGHT_MIN: usize = 16;
