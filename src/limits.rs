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

/// Name servers that are asked, in servers. resolv.conf(5) takes three; more is a slip in the file.
pub const RESOLVE_SERVERS_MAX: usize = 8;
/// Times that every server is asked, in rounds: the cap of resolv.conf(5).
pub const RESOLVE_ROUNDS_MAX: u32 = 5;
/// Longest wait for one server before the next is asked, in milliseconds.
///
/// resolv.conf(5) says 5 s where nothing is set: half of the default deadline of a check, gone
/// with one lost datagram.
pub const RESOLVE_TRY_MS_MAX: u64 = 2_000;
/// Queries in flight per shard, each with a socket of its own, in queries; more wait their turn.
pub const RESOLVE_INFLIGHT_MAX: usize = 512;
/// Lookups of one shard that wait for an answer, in lookups; one more is refused.
pub const RESOLVE_WAITING_MAX: usize = 131_072;
/// Names in the cache of one shard, per record type, in names; about 200 bytes each.
pub const RESOLVE_NAMES_MAX: usize = 1 << 20;
/// Addresses kept of one answer, in addresses.
pub const RESOLVE_ADDRESSES_MAX: usize = 32;
/// Aliases followed in one answer, in CNAME records.
pub const RESOLVE_CNAMES_MAX: usize = 16;
/// Foreign datagrams in answer to one query before it goes over TCP, in datagrams.
///
/// Somebody guesses ids then, and TCP cannot be guessed at (RFC 5452 section 9.3).
pub const RESOLVE_FOREIGN_MAX: u32 = 32;
/// Shortest time an answer is kept, in seconds: a TTL of 0 must not mean a query per check.
pub const RESOLVE_TTL_S_MIN: u32 = 1;
/// Longest time an answer is kept, in seconds.
pub const RESOLVE_TTL_S_MAX: u32 = 3_600;
/// Longest time "no such name" and "no address" are kept, in seconds: a name that appears is seen.
pub const RESOLVE_NEGATIVE_TTL_S_MAX: u32 = 300;
/// How long addresses past their TTL are used while no server answers, in milliseconds: a day, the
/// low end of what RFC 8767 section 5 suggests.
pub const RESOLVE_STALE_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Wait for a fresh answer before stale addresses are used, in milliseconds (RFC 8767 section 5).
pub const RESOLVE_STALE_WAIT_MS: u64 = 1_800;
/// How long a failed query is not repeated, in milliseconds (RFC 9520 section 3.2: 1 s at least).
pub const RESOLVE_HOLD_MS: u64 = 5_000;
/// How long a silent server is asked last, in milliseconds.
pub const RESOLVE_SERVER_DOWN_MS: u64 = 30_000;

/// Echo requests or replies in one call of sendmmsg(2) or recvmmsg(2), in packets.
///
/// With 256 at a time on loopback the receive buffer overflowed and 36 % of the replies came back.
pub const ECHO_BATCH_MAX: usize = 64;
/// Batches that one call reads before the shard does something else.
pub const ECHO_BATCHES_PER_WAKE_MAX: usize = 16;
/// Echo requests that wait to be sent on one socket, in packets; one more is refused.
pub const ECHO_QUEUE_MAX: usize = 65_536;
/// Receive buffer of an echo socket where the host allows it, in bytes.
///
/// The kernel doubles it and counts 768 bytes for a reply: room for twenty thousand, the replies
/// of a second at a million monitors a minute and a core.
pub const ECHO_RECEIVE_BUFFER_BYTES: usize = 8 << 20;

const _: () = assert!(INTERVAL_MS_MIN >= TICK_MS);
const _: () = assert!(INTERVAL_MS_MIN <= INTERVAL_MS_DEFAULT);
const _: () = assert!(TIMEOUT_MS_MIN >= TICK_MS && TIMEOUT_MS_DEFAULT <= TIMEOUT_MS_MAX);
const _: () = assert!(BATCH_SAMPLES_MAX <= u16::MAX as usize);
const _: () = assert!(BATCH_AGE_MS_MAX <= COMMIT_MS);
const _: () = assert!(RESOLVE_NAMES_MAX > RESOLVE_WAITING_MAX + RESOLVE_INFLIGHT_MAX);
const _: () = assert!(RESOLVE_TTL_S_MIN >= 1 && RESOLVE_TTL_S_MIN <= RESOLVE_NEGATIVE_TTL_S_MAX);
