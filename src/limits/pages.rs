//! Bounds of public status pages, badges and checks that are asked for.

/// Public status pages of one file; what one costs does not depend on how many look.
pub const STATUS_PAGES_MAX: usize = 200;
/// Longest place of a public page, in bytes.
pub const PAGE_SLUG_BYTES_MAX: usize = 64;
/// Longest title or description of a public page, in bytes.
pub const PAGE_TEXT_BYTES_MAX: usize = 2_000;
/// Tags and names of monitors that one public page may list.
pub const PAGE_MONITORS_NAMED_MAX: usize = 1_000;
/// Monitors with a row of their own on a public page, the worst first where there are more: about
/// 300 KB of HTML. The others are counted.
pub const PAGE_ROWS_MAX: usize = 200;
/// Incidents on a public page, the newest: more than anybody reads.
pub const PAGE_INCIDENTS_MAX: usize = 50;
/// Age up to which incidents that are over are on a public page, in milliseconds: 14 days.
pub const PAGE_INCIDENTS_MS_MAX: u64 = 14 * 24 * 3_600_000;
/// Time ahead in which windows of maintenance are announced, in milliseconds: 7 days.
pub const PAGE_WINDOWS_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Windows of maintenance on a public page, the next ones.
pub const PAGE_WINDOWS_MAX: usize = 20;
/// Days with a bar of their own.
pub const PAGE_DAYS: u64 = 90;
/// Age up to which a public page is given again, in milliseconds: its price is paid at most so
/// often, whoever looks.
pub const PAGE_SHARED_MS: u64 = 5_000;
/// Age up to which response times on a public page are given again, in milliseconds: an hour of
/// results of every monitor is read for them.
pub const PAGE_TIMES_MS: u64 = 60_000;
/// Results that make the response time of one monitor: those of the last hour, at one a second.
pub const PAGE_RESULTS_MAX: usize = 3_600;
/// Longest label of a badge that a request may ask for, in bytes.
pub const BADGE_LABEL_BYTES_MAX: usize = 100;
/// Wait for the result of a check that was asked for where a request names none, in milliseconds:
/// most checks take less, and nobody waits longer before a button.
pub const RUN_WAIT_MS_DEFAULT: u64 = 10_000;
/// Longest wait for it, in milliseconds.
pub const RUN_WAIT_MS_MAX: u64 = 60_000;
