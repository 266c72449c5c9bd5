//! Every bound and default, with its unit and its reason.
//!
//! Owns: numbers. A bound that users may change is the default of a setting; the others are part
//! of the design and name what they protect.

mod pages;

pub use pages::*;

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

/// One part in so many of the room in flight is kept for monitors whose last check was good: those
/// of targets that are down hold their places for a whole timeout.
pub const ROOM_RESERVE_DIVISOR: usize = 4;

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
/// Samples, changes and words (as sixteen samples each) a shard keeps while that channel is full:
/// 120 MB. It is reached only where database and spool both refuse; past it the oldest go, changes
/// of verdict last, and are counted.
pub const SHARD_BACKLOG_SIZE_MAX: usize = 2 * SHARD_BACKLOG_BATCHES_MAX * BATCH_SAMPLES_MAX;
/// Messages of failures that say nothing new which one shard hands over in a second; the rest is
/// counted. A mass outage costs samples, not a text each.
pub const WORDS_PER_SECOND_MAX: u32 = 512;
/// Commands in the inbox of one shard. A loader waits when it is full.
pub const INBOX_COMMANDS_MAX: usize = 256;
/// Monitors in one command.
pub const COMMAND_MONITORS_MAX: usize = 1_024;
/// Changes of monitors that wait for the control thread, in changes; whoever sends more waits.
pub const CHANGES_QUEUED_MAX: usize = 16;

/// Entries of a shard's submission ring.
pub const RING_ENTRIES: u32 = 4_096;
/// Entries of glommio's own rings: the shard's traffic does not go through them.
pub const EXECUTOR_RING_ENTRIES: usize = 128;
/// Memory that glommio registers for files, in bytes; its default pins 30 MB a shard.
pub const EXECUTOR_IO_BYTES: usize = 65_536;
/// Bytes read from a socket at a time; one buffer per shard.
pub const READ_BUFFER_BYTES: usize = 64 * 1_024;
/// Reads from one socket before the others get their turn.
pub const READS_PER_WAKE_MAX: usize = 16;

/// Addresses of one name that are connected to, one after the other, in addresses. More would only
/// cut the time of each.
pub const CONNECT_ADDRESSES_MAX: usize = 8;
/// Shortest time one of several addresses is given to connect, in milliseconds: a round trip round
/// the world, as RFC 8305 section 5 waits before the next one.
pub const CONNECT_SHARE_MS_MIN: u64 = 250;
/// Longest time that a connection is kept without an exchange, in milliseconds: less than the 75 s
/// after which nginx closes one, and NAT on the way forgets it.
pub const CONNECTION_IDLE_MS_MAX: u64 = 65_000;
/// Longest interval of a monitor that keeps its connection, in milliseconds: a longer one would
/// find it closed each time.
pub const KEEP_ALIVE_INTERVAL_MS_MAX: u64 = 60_000;
const _: () = assert!(KEEP_ALIVE_INTERVAL_MS_MAX < CONNECTION_IDLE_MS_MAX);
/// TLS sessions that a shard keeps, in sessions of about 4 KiB: 64 MiB at most.
pub const TLS_SESSIONS_MAX: usize = 16_384;
/// Commands that a shard takes in one turn, of up to `COMMAND_MONITORS_MAX` monitors each: the
/// sockets are looked at in between.
pub const COMMANDS_PER_TURN_MAX: usize = 8;
/// Pause between log lines about probes that failed by a fault of ours without a rule, in
/// milliseconds. Every one of them is stored with its result.
pub const FAULT_LOG_MS: u64 = 1_000;
/// Bytes of the kernel's list of routes that the guard reads: a full table of the Internet has
/// millions of lines, and the default routes are the first.
pub const ROUTES_BYTES_MAX: u64 = 64 * 1_024;

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
/// Time that a stop may take until everything is recorded, in milliseconds.
pub const STORE_STOP_MS_MAX: u64 = 3_000;
/// Time that a stop may take to let checks in flight end, in milliseconds.
pub const DRAIN_MS_MAX: u64 = 6_000;

/// Time that a change to down is held before it is told, in milliseconds: what fails together is
/// told together.
pub const ALERT_HOLD_MS: u64 = 3_000;
/// Changes held at once that one channel tells in a single notice.
pub const ALERT_GROUP_MIN: u64 = 10;
/// Outages that one channel tells one by one within a minute; further ones come in one notice.
pub const ALERT_SINGLES_PER_MINUTE_MAX: u64 = 20;
/// A grouped notice is sent when nothing more has failed for so long, in milliseconds.
pub const ALERT_GROUP_QUIET_MS: u64 = 10_000;
/// A grouped notice is sent at the latest so long after its first failure, in milliseconds: the
/// usual interval, so that every monitor had its turn.
pub const ALERT_GROUP_TELL_MS_MAX: u64 = 60_000;
/// What fails within this time after the last one still belongs to a group, in milliseconds.
pub const ALERT_GROUP_OPEN_MS: u64 = 60_000;
/// A group that is partly up again is told after this time, in milliseconds; then after twice it.
pub const ALERT_GROUP_UP_MS: u64 = 90_000;
/// Longest time between two such notices, in milliseconds.
pub const ALERT_GROUP_UP_MS_MAX: u64 = 3_600_000;
/// Monitors that a grouped notice names; the rest is a number.
pub const ALERT_GROUP_NAMES_MAX: usize = 20;
/// Outages whose notices are made in one turn: a turn stays below a tenth of a second.
pub const ALERT_TURN_OUTAGES_MAX: usize = 1_000;
/// Longest time between two turns of the alerts' thread, in milliseconds.
pub const ALERT_TURN_MS: u64 = 250;
/// Lists of changes on their way to the alerts' thread. Past it they are counted and read from the
/// store instead.
pub const ALERT_QUEUE_MAX: usize = 1_024;
/// Time between two looks into the store for changes nobody told of, in milliseconds.
pub const ALERT_CATCH_UP_MS: u64 = 30_000;
/// Time between two looks for monitors that are down and no longer watched, in milliseconds.
pub const ALERT_GONE_MS: u64 = 300_000;
/// Changes read from the store at once.
pub const ALERT_CATCH_UP_ROWS: usize = 1_000;
/// What is known of a monitor is waited for so long, in milliseconds; then its number alone is
/// told.
pub const ALERT_FACTS_WAIT_MS: u64 = 30_000;
/// Threads that send notices; they start when there is something to send.
pub const ALERT_SENDERS_MAX: usize = 32;
/// Of these, those that channels may have which failed the last time.
pub const ALERT_SENDERS_FAILING_MAX: usize = 16;
/// Notices on the way over one channel at once, each of another monitor.
pub const ALERT_CHANNEL_SENDS_MAX: usize = 4;
/// Failures in a row after which a whole channel pauses.
pub const ALERT_CHANNEL_FAILURES_MAX: u32 = 5;
/// Shortest pause before a notice or a channel is tried again, in milliseconds.
pub const ALERT_RETRY_MS_MIN: u64 = 1_000;
/// Longest such pause, in milliseconds.
pub const ALERT_RETRY_MS_MAX: u64 = 300_000;
/// Longest pause that a receiver may ask for, in milliseconds.
pub const ALERT_RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// Age at which a notice is given up, in milliseconds; one notice says how many.
pub const ALERT_EXPIRE_MS: u64 = 24 * 3_600_000;
/// Notices that wait for one channel; past it the oldest are given up.
pub const ALERT_WAITING_MAX: u64 = 100_000;
/// Age at which notices that are done with are deleted, in milliseconds.
pub const ALERT_KEEP_MS: u64 = 24 * 3_600_000;
/// What is held by a mark is looked at again after this time, in milliseconds, where nobody says
/// before that the mark is gone.
pub const ALERT_HELD_LOOK_MS: u64 = 60_000;
/// The notice of a monitor waits so long for the next check of what it depends on, and for its own
/// after that came back, in milliseconds; then it is told as it stands. Two usual intervals. Where
/// its marks depend on the list of all monitors, it waits so long to be in that, too.
pub const ALERT_KIN_WAIT_MS: u64 = 120_000;
/// Age at which changes are forgotten that were taken, in milliseconds: older than what a spool
/// holds.
pub const ALERT_SEEN_MS: u64 = 8 * 24 * 3_600_000;
/// An ongoing outage is told again after this time under the original's rules, in milliseconds:
/// 23.9 hours.
pub const ALERT_DAILY_MS: u64 = 86_040_000;
/// Deadline of one delivery, in milliseconds.
pub const ALERT_SEND_MS: u64 = 10_000;
/// Deadline of one delivery by Telegram, in milliseconds: the original's.
pub const ALERT_TELEGRAM_MS: u64 = 15_000;
/// An ongoing outage is told to Alertmanager again after this time, in milliseconds: it keeps no
/// alerts over a restart of its own.
pub const ALERTMANAGER_REPEAT_MS: u64 = 300_000;
/// Deadline of one mail, in milliseconds: the original's.
pub const ALERT_MAIL_MS: u64 = 30_000;
/// Bytes that are read of a receiver's answer.
pub const ALERT_ANSWER_BYTES_MAX: u64 = 16 * 1_024;
/// Time that a channel of the database is taken as it was read, in milliseconds.
pub const ALERT_CHANNEL_KEPT_MS: u64 = 30_000;
/// Such channels that are kept; past it all are read anew.
pub const ALERT_CHANNELS_KEPT_MAX: usize = 10_000;
/// Channels of one configuration.
pub const CHANNELS_MAX: usize = 1_000;
/// Channels that one monitor names.
pub const MONITOR_CHANNELS_MAX: usize = 32;

/// Interval of the original service where none is given, in milliseconds.
pub const INTERVAL_MS_ORIGINAL: u64 = 360_000;
/// Total deadline of the original's web checks, in milliseconds.
pub const TIMEOUT_WEB_MS_ORIGINAL: u64 = 30_000;
/// Total deadline of the original's certificate check, in milliseconds.
pub const TIMEOUT_TLS_MS_ORIGINAL: u64 = 15_000;
/// Total deadline of the original's TCP and ICMP checks, in milliseconds.
pub const TIMEOUT_MS_ORIGINAL: u64 = 10_000;
/// Further attempts of the original within one check.
pub const RETRIES_ORIGINAL: u8 = 2;
/// Longest pause before a further attempt, in milliseconds.
pub const RETRY_DELAY_MS_MAX: u64 = 300_000;
/// Most checks in a row that a monitor may ask for before its verdict changes.
pub const CONFIRM_MAX: u8 = 100;
/// Pause before a failed check is confirmed by a further one where none is given, in milliseconds:
/// longer than what a lost packet or a restarting server takes, short beside an interval.
pub const CONFIRM_INTERVAL_MS_DEFAULT: u64 = 5_000;
/// Longest pause before a failed check is confirmed, in milliseconds.
pub const CONFIRM_INTERVAL_MS_MAX: u64 = 300_000;

/// Most windows of maintenance in one file; each is looked at once a second.
pub const MAINTENANCE_WINDOWS_MAX: usize = 1_000;
/// Shortest weekly window of maintenance, in milliseconds.
pub const MAINTENANCE_MS_MIN: u64 = 60_000;
/// Longest weekly window of maintenance, in milliseconds: a week is for ever.
pub const MAINTENANCE_MS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// Most names that one monitor may depend on.
pub const PARENTS_MAX: usize = 32;

/// Steps from one result to the next that flapping is judged by, as in Icinga 2.
pub const FLAP_STEPS: u32 = 20;
/// Changes among those steps from which a monitor flaps: 30 %.
pub const FLAP_CHANGES_MIN: u32 = 6;
/// Changes among those steps at which it does not flap any more: below 25 %.
pub const FLAP_END_CHANGES_MAX: u32 = 4;

/// Time between two rounds of the guard where none is given, in milliseconds; the original's.
pub const GUARD_INTERVAL_MS_DEFAULT: u64 = 1_000;
/// Shortest time between two rounds of the guard, in milliseconds: its canaries are not ours.
pub const GUARD_INTERVAL_MS_MIN: u64 = 500;
/// Longest time between two rounds of the guard, in milliseconds. A down waits for a whole round.
pub const GUARD_INTERVAL_MS_MAX: u64 = 60_000;
/// Time that a canary has to answer where none is given, in milliseconds: one retransmitted SYN.
pub const GUARD_TIMEOUT_MS_DEFAULT: u64 = 2_000;
/// Longest time that a canary may be given, in milliseconds.
pub const GUARD_TIMEOUT_MS_MAX: u64 = 10_000;
/// Most canaries.
pub const GUARD_CANARIES_MAX: usize = 32;
/// Longest that one signal alone holds back verdicts, in milliseconds: an interval of most
/// monitors, in which their results have shown whether the signal is right.
pub const GUARD_TRIAL_MS: u64 = 60_000;
/// Share of monitors that had been good and fail now which is beyond any usual one, in percent.
/// A fleet of its own accord has well below one.
pub const GUARD_SHARE_PERCENT: u64 = 30;
/// Results from which that share is believed before a trial is over, in results.
pub const GUARD_RESULTS_MIN: u64 = 20;
/// Results that are enough in a small fleet, in results: at once where all of them failed, else
/// once a trial is over.
pub const GUARD_FEW_RESULTS_MIN: u64 = 3;
/// Rounds in a row without reason before an isolation ends, in rounds: one answer may be luck.
pub const GUARD_CLEAR_ROUNDS: u32 = 2;
/// Longest that the guard does not look whether it is to stop, in milliseconds.
pub const GUARD_WAIT_MS_MAX: u64 = 100;
/// Queries that no name server answered, and none was answered meanwhile, in queries.
pub const GUARD_SILENT_QUERIES_MIN: u64 = 3;
/// Days a certificate must have left where nothing is given; the original's fixed number.
pub const EXPIRE_DAYS_DEFAULT: u32 = 10;
/// Most days a certificate may be asked to have left: ten years, longer than any is issued for.
pub const EXPIRE_DAYS_MAX: u32 = 3_650;
/// Redirects to follow where nothing is given; the original's fixed number.
pub const REDIRECTS_DEFAULT: u8 = 10;

/// Longest request method, in bytes. The longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;
/// Most header fields one monitor may send.
pub const HEADERS_MAX: usize = 64;
/// Names and values of all fields one monitor sends, in bytes: common servers take 8 KiB of head.
pub const HEADER_BYTES_MAX: usize = 8_192;
/// Largest request body of a monitor, in bytes: it stays in memory as long as the monitor.
pub const REQUEST_BODY_BYTES_MAX: usize = 64 * 1_024;
/// Most ranges in the list of good statuses.
pub const STATUS_RANGES_MAX: usize = 32;
/// Longest Location of a redirect that is followed, in bytes.
pub const LOCATION_BYTES_MAX: usize = 8_192;
/// Longest path of a file that a monitor may name, in bytes (PATH_MAX of Linux).
pub const PATH_BYTES_MAX: usize = 4_096;

/// Largest configuration file, in bytes: five million monitors of 200 bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 30;
/// Deepest nesting inside one value of the configuration file; headers need three.
pub const CONFIG_DEPTH_MAX: usize = 8;
/// Largest monitor in the configuration file, in bytes after aliases are resolved.
pub const CONFIG_MONITOR_BYTES_MAX: usize = 1 << 20;
/// Bytes that all aliases and anchors of a configuration file may add: no alias bomb passes.
pub const CONFIG_ALIAS_BYTES_MAX: usize = 64 << 20;
/// Longest retention of samples, in days: a hundred years.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
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
/// Age up to which an answer is not asked for anew although a check failed, in milliseconds: a
/// hundred thousand monitors of one name that fail together are one query.
pub const RESOLVE_DOUBT_MS: u64 = 2_000;
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
const _: () = assert!(FLAP_END_CHANGES_MAX < FLAP_CHANGES_MIN && FLAP_STEPS < 32);
const _: () = assert!(GUARD_TRIAL_MS >= 3 * GUARD_TIMEOUT_MS_MAX);
const _: () = assert!(INTERVAL_MS_MIN <= INTERVAL_MS_DEFAULT);
const _: () = assert!(TIMEOUT_MS_MIN >= TICK_MS && TIMEOUT_MS_DEFAULT <= TIMEOUT_MS_MAX);
const _: () = assert!(BATCH_SAMPLES_MAX <= u16::MAX as usize);
const _: () = assert!(BATCH_AGE_MS_MAX <= COMMIT_MS);
const _: () = assert!(TIMEOUT_WEB_MS_ORIGINAL <= TIMEOUT_MS_MAX);
const _: () = assert!(RETRIES_ORIGINAL <= RETRIES_MAX && REDIRECTS_DEFAULT <= REDIRECTS_MAX);
const _: () = assert!(RESOLVE_NAMES_MAX > RESOLVE_WAITING_MAX + RESOLVE_INFLIGHT_MAX);
const _: () = assert!(RESOLVE_TTL_S_MIN >= 1 && RESOLVE_TTL_S_MIN <= RESOLVE_NEGATIVE_TTL_S_MAX);

/// Memory that one shard's rings may lock, in bytes: what glommio 0.9 asks for at its start.
pub const SHARD_MEMLOCK_BYTES: u64 = 512 * 1_024;
/// Descriptors of one shard beside its probes: four rings, eventfds and ICMP sockets.
pub const SHARD_DESCRIPTORS: usize = 16;
/// Fewest probes in flight per shard that make a start worth while, in probes.
pub const INFLIGHT_MIN: usize = 16;

/// Length of a compaction window, in milliseconds: five minutes of a monitor in one chunk keep
/// five results of a 60 s interval together, which is where packing starts to pay.
pub const WINDOW_MS: u64 = 300_000;
/// Time after the end of a window before it is compacted, in milliseconds. Checks that end later
/// (long timeouts, retries) go to a further part of the chunk.
pub const WINDOW_GRACE_MS: u64 = 30_000;
/// Monitors whose results share a chunk, as a power of two: 1,024.
pub const GROUP_BITS: u32 = 10;
/// Monitors whose results share a head row, as a power of two: 32,768 (32 groups). One window of
/// one lane is compacted at a time, so this bounds memory and the length of a slice: 164,000
/// results of 60 s intervals, 0.15 s in a development build.
pub const LANE_BITS: u32 = 15;
/// Time between two writes of a state without news, in milliseconds. One row in so long costs less
/// than the results themselves; readers unpack the head rows of this time for each lane they show,
/// 10 ms at 60 s intervals.
pub const STATES_EVERY_MS: u64 = 60_000;
/// Monitors whose sums of an hour share a blob, as a power of two: 128. A quarter of a year of one
/// monitor is then 2,160 blobs of 1.5 KiB.
pub const HOUR_GROUP_BITS: u32 = 7;
/// Age of the sums of an hour, in milliseconds: 90 days take half the room
/// of 7 days of results.
pub const HOURS_AGE_MS: u64 = 90 * 24 * 3_600 * 1_000;
/// Longest history that is made of single results, in milliseconds: 2 days. A longer one is made
/// of hours, since each day of results takes 288 chunks.
pub const API_HISTORY_EXACT_MS_MAX: u64 = 2 * 24 * 3_600 * 1_000;
/// Results that one compaction slice takes at most, about 0.2 s of work; the rest of the window
/// follows in further slices.
pub const COMPACT_SAMPLES_MAX: usize = 250_000;
/// Results in one packed blob at most. Bounds what a blob can make the reader allocate.
pub const BLOB_SAMPLES_MAX: usize = 1 << 20;
/// Batches that one transaction of the store takes at most: 65,536 results, about 0.3 s.
pub const COMMIT_BATCHES_MAX: usize = 256;
/// Batches that the store thread keeps while the database refuses them: 64 MiB of results. Past
/// it the channel fills, and the shards keep and count.
pub const STORE_PENDING_BATCHES_MAX: usize = 4_096;
/// First pause after a commit that failed, in milliseconds.
pub const STORE_RETRY_MS_MIN: u64 = 100;
/// Longest pause after commits that failed, in milliseconds: a disk that has room again is seen
/// within this.
pub const STORE_RETRY_MS_MAX: u64 = 5_000;
/// Pause between looks for maintenance work when there was none, in milliseconds.
pub const MAINTAIN_MS: u64 = 1_000;
/// Time between looks at ages and sizes, in milliseconds.
pub const RETAIN_EVERY_MS: u64 = 10_000;
/// Time between runs of `PRAGMA optimize`, in milliseconds: a day.
pub const OPTIMIZE_EVERY_MS: u64 = 24 * 3_600 * 1_000;

/// Time by which a change may lie before one that came earlier and still be the latest news, in
/// milliseconds: it has the due time of a check during which a window of maintenance began.
pub const MARK_DISORDER_MS: u64 = 600_000;
/// Failures with their words kept for each monitor. Equal ones in a row count as one.
pub const EVIDENCE_MAX: usize = 10;
/// Failures with their words kept in all, in rows; past it the oldest go. An outage of everything
/// must not fill the disk: 500,000 rows are at most 2.5 GB, usually 0.2 GB.
pub const EVIDENCE_ROWS_MAX: u64 = 500_000;
/// Transitions kept in all, in rows of about 60 bytes; past it the oldest go.
pub const TRANSITION_ROWS_MAX: u64 = 5_000_000;
/// Closed incidents kept in all, in rows of about 120 bytes; past it the oldest go.
pub const INCIDENT_ROWS_MAX: u64 = 2_000_000;
/// Certificates remembered for each monitor: a target may show a new one at every check.
pub const CERTS_PER_MONITOR_MAX: usize = 10;
/// Names of a certificate that are kept.
pub const CERT_NAMES_MAX: usize = 100;
/// Longest stored message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Longest stored detail of a failure, in bytes of JSON; past it only its first words are kept.
pub const DETAIL_BYTES_MAX: usize = 4_096;

/// Age of raw results where none is given, in milliseconds: 7 days.
pub const RESULTS_AGE_MS_DEFAULT: u64 = 7 * 24 * 3_600 * 1_000;
/// Age of transitions, incidents, evidence and removed monitors where none is given, in
/// milliseconds: 400 days, so that a year can be compared with the one before.
pub const EVENTS_AGE_MS_DEFAULT: u64 = 400 * 24 * 3_600 * 1_000;
/// Size of the database where none is given, in bytes: 8 GiB.
pub const STORE_BYTES_DEFAULT: u64 = 8 << 30;
/// Chunks deleted in one transaction: about 11 MB.
pub const DELETE_CHUNKS_MAX: usize = 500;
/// Other rows deleted in one transaction.
pub const DELETE_ROWS_MAX: usize = 5_000;
/// Free pages (of 8 KiB) the file keeps for the next window; more are given back to the disk.
pub const FREE_PAGES_KEPT: u64 = 4_096;
/// Pages given back to the disk in one step.
pub const VACUUM_PAGES_MAX: u64 = 1_024;

const _: () = assert!(GROUP_BITS < LANE_BITS);
const _: () = assert!(COMMIT_BATCHES_MAX * BATCH_SAMPLES_MAX <= BLOB_SAMPLES_MAX);
const _: () =
    assert!(COMPACT_SAMPLES_MAX + COMMIT_BATCHES_MAX * BATCH_SAMPLES_MAX <= BLOB_SAMPLES_MAX);
const _: () = assert!(COMMIT_BATCHES_MAX <= STORE_PENDING_BATCHES_MAX);

/// Largest `.env` file, in bytes.
pub const ENV_FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest value of a `.env` file after expansion, in bytes: `A=${A}${A}` doubles with each line.
pub const ENV_VALUE_BYTES_MAX: usize = 32 * 1_024;
/// Most checks at once that `ASYNC_MAX_CONCURRENT` and `ASYNC_THREAD_COUNT` may ask for, in checks.
pub const ENV_IN_FLIGHT_MAX: u64 = 1 << 20;

/// Most monitors that one round of `engine performance` checks at once, in monitors.
pub const PERFORMANCE_ROUND_MAX: usize = 100_000;
/// Longest wait of `engine status` and `engine stop` for each step, in milliseconds.
pub const REMOTE_WAIT_MS: u64 = 5_000;
/// Longest answer that `engine status` and `engine stop` read, in bytes.
pub const REMOTE_ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How long a session of the dashboard lasts, in milliseconds: 12 hours.
pub const SESSION_MS: u64 = 12 * 3_600 * 1_000;
/// Sessions of the dashboard at once; past it the oldest ends.
pub const SESSIONS_MAX: usize = 256;
/// Longest credentials in an `Authorization` field, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Longest life of a signed token, in hours: a year.
pub const TOKEN_HOURS_MAX: u64 = 365 * 24;
/// Time over which wrong passwords are counted, in milliseconds.
pub const LOGIN_WINDOW_MS: u64 = 60_000;
/// Wrong passwords from one address in that time; past it none is looked at.
pub const LOGIN_FAILURES_MAX: u32 = 10;
/// Wrong passwords from all addresses in that time; past it none is looked at.
pub const LOGIN_FAILURES_ALL_MAX: u32 = 200;
/// Addresses whose wrong passwords are counted apart.
pub const LOGIN_ADDRESSES_MAX: usize = 1_024;
/// Largest body of a request to the API, in bytes.
pub const API_BODY_BYTES_MAX: usize = 8_192;
/// Monitors in one answer of the API, in monitors: about 20 MB of JSON. `?limit=` and `?offset=`
/// give the others.
pub const API_ROWS_MAX: usize = 50_000;
/// Monitors on one page of the dashboard.
pub const DASHBOARD_ROWS_MAX: usize = 200;
/// Answers that read the store at once: one that is slow must not stop the others.
pub const API_READS_MAX: usize = 2;
/// Bytes that are read from the end of a log file.
pub const LOG_TAIL_BYTES_MAX: u64 = 1 << 20;
/// Lines of a log file in one answer.
pub const LOG_TAIL_LINES_MAX: usize = 10_000;

/// Messages to the thread of the original's log files; each is a batch of results or a line.
pub const LOG_QUEUE_MESSAGES_MAX: usize = 1_024;
/// Messages that are turned into lines before those are written: about 16 MB of text.
pub const LOG_ROUND_MESSAGES_MAX: usize = 64;
/// Log files open at once, out of [`DESCRIPTORS_RESERVED`].
pub const LOG_FILES_OPEN_MAX: usize = 64;
/// Largest log file, in bytes; one older file of this size stays beside it.
pub const LOG_FILE_BYTES_MAX: u64 = 16 << 20;
/// Time between two `[STATS]` lines, in milliseconds: as in the original.
pub const LOG_STATS_MS: u64 = 60_000;

const _: () = assert!(LOG_FILES_OPEN_MAX * 2 <= DESCRIPTORS_RESERVED);

/// Length of a spool segment, in bytes: half an hour of results at a million monitors a minute is
/// a dozen files, and rewriting one takes well under a second.
pub const SPOOL_SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Size of the spool where none is given and the disk has room, in bytes: about 12 hours at a
/// million monitors a minute and 12 bytes a result.
pub const SPOOL_BYTES_DEFAULT: u64 = 8 << 30;
/// Least size of the spool, in bytes, on however full a disk: room that becomes free is used.
pub const SPOOL_BYTES_MIN: u64 = 64 << 20;
/// The spool takes one part in so many of the free disk where that is less.
pub const SPOOL_FREE_DIVISOR: u64 = 5;
/// Segments that the smallest spool must have room for: one is written, one replayed, the others
/// lose their good samples.
pub const SPOOL_SEGMENTS_MIN: u64 = 8;
/// One part in so many of a segment is allocated beyond its end: results that are not good and
/// changes of verdict still fit when the disk has no room for another segment.
pub const SPOOL_RESERVE_DIVISOR: u64 = 8;
/// Bytes of a record past which a batch keeps only the messages of its words.
pub const SPOOL_RECORD_BYTES_MAX: usize = 4 << 20;
/// Bytes of the spool read at once for a replay.
pub const SPOOL_READ_BYTES: usize = 2 << 20;
/// A commit that takes longer than this, in milliseconds, counts like a refusal: batches go to the
/// spool until one is quick again, so that nobody waits for a slow database to hear of a change.
pub const COMMIT_SLOW_MS: u64 = 2_000;

const _: () = assert!(BATCH_SAMPLES_MAX * MESSAGE_BYTES_MAX * 2 < SPOOL_RECORD_BYTES_MAX);
const _: () = assert!(SPOOL_READ_BYTES <= SPOOL_RECORD_BYTES_MAX);

/// Digits that latency histograms keep: within 0.8 %, as stored results are. Three digits would
/// take seven times the memory.
pub const LATENCY_DIGITS: u8 = 2;
/// Longest duration that latency histograms tell apart, in microseconds: an hour, more than all
/// attempts of one check can take.
pub const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Monitors with histograms of their own, in monitors: 0.8 MB each, 200 MB in all.
pub const LATENCY_MONITORS_MAX: usize = 256;
/// Tag of a monitor that asks for histograms of its own.
pub const LATENCY_TAG: &str = "histogram";
/// Log of intervals past which it is begun anew, in bytes; one older log of this size stays.
pub const HIST_LOG_BYTES_MAX: u64 = 64 << 20;
/// Time between two dumps of the histograms where none is given, in milliseconds.
pub const HIST_INTERVAL_MS_DEFAULT: u64 = 60_000;
/// What that time may be, in milliseconds: the shards hand over once a second, and an interval of
/// more than a day says little.
pub const HIST_INTERVAL_MS: std::ops::RangeInclusive<u64> = 1_000..=24 * 3_600 * 1_000;
/// Longest answer about histograms that is read, in bytes: 64 shards with every type fill 20 MB.
pub const HIST_ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Longest wait for one host of a PostgreSQL server to take a connection and to let us in, in
/// milliseconds.
pub const PG_CONNECT_MS_MAX: u64 = 3_000;
/// How long a stop waits for answers of the API that are being made, in milliseconds.
pub const ANSWERS_STOP_MS: u64 = 1_000;
/// Time from an attempt to apply monitors without the database to the next, in milliseconds.
pub const APPLY_AGAIN_MS: u64 = 2_000;
/// Longest wait for the answer to one statement, in milliseconds: a server that stands still (a
/// stopped process, a frozen disk) counts as away after this.
pub const PG_STATEMENT_MS_MAX: u64 = 8_000;
/// Longest wait for a migration or for the lock before it, in milliseconds.
pub const PG_MIGRATE_MS_MAX: u64 = 120_000;
/// Bytes that are sent and not acknowledged for this long end a connection, in milliseconds.
pub const PG_SILENT_MS_MAX: u64 = 10_000;
/// A connection without traffic asks whether the other side is there after this, in milliseconds.
pub const PG_KEEPALIVE_MS: u64 = 30_000;

/// Longest wait of a statement for a lock that somebody else has, in milliseconds: less than
/// [`PG_STATEMENT_MS_MAX`], so that the error names the lock.
pub const PG_LOCK_MS_MAX: u64 = 3_000;
/// Failures and changes of verdict in one transaction with PostgreSQL, as far as batches allow:
/// each costs the server about 0.1 ms.
pub const PG_EVENTS_MAX: usize = 8_192;
/// Monitors with numbers below this are rows of the original's table, which counts with 31 bits;
/// the engine's own begin here.
pub const FOREIGN_IDS_MAX: u64 = 1 << 40;
/// Age at which the original's checks go, in milliseconds: 30 days, as its setup has it.
pub const SERIES_CHECKS_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// Age at which the original's hourly sums go, in milliseconds: a year.
pub const SERIES_HOURS_MS: u64 = 365 * 24 * 3_600 * 1_000;
/// Age at which the original's metrics about the service go, in milliseconds: 7 days.
pub const SERIES_METRICS_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Rows of the original's time series deleted in one transaction, where they are not dropped by
/// the day.
pub const SERIES_DELETE_MAX: u64 = 20_000;
/// Days ahead for which tables of checks are made: a weekend without an engine is no trouble,
/// because missing ones are made when results come.
pub const SERIES_DAYS_AHEAD: i64 = 2;
/// Monitors whose hour is summed up in one transaction.
pub const HOUR_MONITORS_MAX: i64 = 5_000;
/// How long after its end an hour is summed up, in milliseconds: results of checks that were still
/// running are there by then; those from a spool make it summed up again.
pub const HOUR_GRACE_MS: u64 = 6 * 60 * 1_000;
/// Time between two rounds of the original's metrics about the service, in milliseconds.
pub const SERIES_METRICS_EVERY_MS: u64 = 60_000;
/// Rows of monitors that are compared with PostgreSQL in one statement: a few megabytes.
pub const SYNC_ROWS_MAX: usize = 10_000;
/// Longest wait for the answer to a question of the command line or the API, in milliseconds.
pub const PG_READ_MS_MAX: u64 = 30_000;
/// Requests to the API that one address may send each second.
pub const API_RATE_PER_S_MAX: u64 = 200;
/// Requests one address may send at once before the rate holds: a page with all its parts open in
/// a dozen windows.
pub const API_BURST_MAX: u64 = 400;
/// Addresses whose requests are counted apart.
pub const API_CALLERS_MAX: usize = 4_096;
/// Tokens of programs.
pub const API_TOKENS_MAX: usize = 1_000;
/// Longest name of a token, in bytes.
pub const API_TOKEN_NAME_BYTES_MAX: usize = 100;
/// Rows in one page of an answer where a request names no number.
pub const API_PAGE_ROWS_DEFAULT: usize = 50;
/// Rows in one page of an answer: 200 monitors are about 100 KB of JSON.
pub const API_PAGE_ROWS_MAX: usize = 200;
/// Results of one monitor in one answer: about 300 KB of JSON.
pub const API_RESULTS_MAX: usize = 1_000;
/// Incidents or changes of verdict in one answer.
pub const API_EVENTS_MAX: usize = 1_000;
/// Results read for the history of one monitor: 7 days at one a minute are 10,080.
pub const API_HISTORY_RESULTS_MAX: usize = 20_000;
/// Steps of the history of one monitor: as many as a wide screen has room for.
pub const API_HISTORY_STEPS_MAX: usize = 500;
/// Changes of verdict read for the uptime of one monitor; what is before them is not known.
pub const API_UPTIME_CHANGES_MAX: usize = 10_000;
/// Longest text that is looked for in names and targets, in bytes.
pub const API_TEXT_BYTES_MAX: usize = 200;
/// Longest row of one monitor in a request, in bytes.
pub const API_ROW_BYTES_MAX: usize = 64 << 10;
/// Rows of a stream that are stored in one transaction.
pub const API_BULK_ROWS: usize = 1_000;
/// Lines of a stream that cannot be used and are told; the others are counted.
pub const API_BULK_PROBLEMS_MAX: usize = 100;
/// Longest wait for the database to make a change, in milliseconds.
pub const API_WRITE_WAIT_MS: u64 = 15_000;
/// Readers of the store that are kept open.
pub const API_READERS_MAX: usize = API_READS_MAX;
/// Cells of the map of all monitors: about 40 KB of JSON, and no screen shows more.
pub const MAP_CELLS_MAX: usize = 4_096;
/// Groups of the map; the smaller ones share the last.
pub const MAP_GROUPS_MAX: usize = 40;
/// Tags in one answer, those with most monitors first.
pub const API_TAGS_MAX: usize = 1_000;

/// Least time between two readings of the list of all monitors, in milliseconds.
pub const FLEET_READ_MS_MIN: u64 = 2_000;
/// The list is read again after so many times what reading it took: at most a twentieth of one
/// core, however many monitors there are.
pub const FLEET_READ_SHARE: u32 = 20;
/// Where no monitor is known to have come, gone or changed, it is read so many times less often:
/// another engine may have changed a list that both have.
pub const FLEET_READ_ANYHOW: u32 = 20;
/// Monitors that a start and a reload read, write and send to the shards at once. Each part waits
/// for a commit of the store or two: with 4,096 a million took minutes on a busy machine.
pub const START_ROWS: usize = 32_768;
/// Monitors read at once for that list.
pub const FLEET_READ_ROWS: usize = 4_096;
/// Time over which lag and rates of the engine are shown, in seconds.
pub const LOAD_WINDOW_S: u64 = 60;

/// Pages that follow the engine live at once.
pub const LIVE_CLIENTS_MAX: usize = 100;
/// Messages that wait for one such page; past it the page is dropped and may come again.
pub const LIVE_MESSAGES_MAX: usize = 64;
/// Changes of verdict told to live pages each second; the others are counted.
pub const LIVE_CHANGES_MAX: usize = 50;

const _: () = assert!(API_PAGE_ROWS_DEFAULT <= API_PAGE_ROWS_MAX);
const _: () = assert!(MAP_GROUPS_MAX < MAP_CELLS_MAX);
/// Longest life of one stream to a live page, in milliseconds: 15 minutes.
pub const LIVE_MS_MAX: u64 = 15 * 60_000;
/// Longest wait for a reader of the store, in milliseconds.
pub const API_READ_WAIT_MS: u64 = 5_000;
/// Age up to which counts and map are given again, in milliseconds.
pub const API_SHARED_MS: u64 = 1_000;

/// Niceness of the control thread and of those that look things up for it: a third of the weight
/// of a shard. Where they share a CPU, whoever looks must not make a check late.
pub const CONTROL_NICE: i32 = 5;
/// Tag of a monitor that always has metrics of its own.
pub const STAR_TAG: &str = "starred";
/// Monitors with metrics of their own where none are selected, in monitors; more are counted. An
/// outage of everything must not drown the server that scrapes: 10,000 are 90,000 samples.
pub const METRICS_MONITORS_MAX: usize = 10_000;
/// How long a monitor has metrics of its own after a change of its verdict, in milliseconds.
pub const METRICS_RECENT_MS: u64 = 3_600 * 1_000;
/// Tags with metrics of their own, the commonest first.
pub const METRICS_TAGS_MAX: usize = 1_000;
/// Scrapes that are answered at once; one more is told to come again.
pub const METRICS_SCRAPES_MAX: usize = 4;
/// Size of a piece of an answer, in bytes: about 200 samples, 0.1 ms of the control thread.
pub const METRICS_PIECE_BYTES: usize = 32 * 1_024;
/// Selectors in one scrape.
pub const MATCHES_MAX: usize = 16;
/// Longest selector, in bytes.
pub const MATCH_BYTES_MAX: usize = 1_024;
/// Largest regular expression of a selector once compiled, in bytes.
pub const MATCH_REGEX_BYTES_MAX: usize = 64 * 1_024;

/// Largest configuration of other software that is read, in bytes after aliases are resolved.
pub const CONFIG_FOREIGN_BYTES_MAX: usize = 64 << 20;
/// Checks by `/probe` at once; one more is told to come again. They have a ring of their own.
pub const PROBES_MAX: usize = 64;
/// Deadline of a check by `/probe` where neither module nor scrape gives one, in milliseconds: as
/// in blackbox_exporter.
pub const PROBE_TIMEOUT_MS_DEFAULT: u64 = 120_000;
/// What is taken off the scrape's own timeout, in milliseconds: as in blackbox_exporter.
pub const PROBE_OFFSET_MS: u64 = 500;
/// Rows of the original's table that are looked at in one step: some 20 ms of the server's time.
pub const FEED_STEP_ROWS: usize = 10_000;
/// Time between two looks at the original's table, and between two tries to reach it, in
/// milliseconds: a change is to reach the shards within 3 s.
pub const FEED_ROUND_MS: u64 = 1_000;
/// Time between two steps of the sweep where the table tells of its changes, in milliseconds: what
/// it cannot tell (a trigger that is switched off) is found all the same.
pub const FEED_SWEEP_MS: u64 = 30_000;
/// Longest wait to hear what another session tells, in milliseconds: where nothing comes, a pooler
/// is in between.
pub const FEED_HELLO_MS: u64 = 2_000;
/// How long changes that come together are gathered, in milliseconds.
pub const FEED_GATHER_MS: u64 = 50;

/// Recorded batches that wait for those who follow the results, in batches: 4 MB of samples.
/// Whoever is further behind loses the oldest.
pub const TAIL_BATCHES_MAX: usize = 256;
/// Programs that follow the results at once.
pub const TAIL_CLIENTS_MAX: usize = 16;
/// Monitors on the screen of `engine top`, in monitors: the longest page of the API.
pub const TOP_ROWS_MAX: usize = 200;
