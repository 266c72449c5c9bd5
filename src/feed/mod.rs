//! The original's table `monitor_items` as the source of monitors, live.
//!
//! Owns: from a row to a monitor (`rows`), what a fresh row changes (`known`), and the copy of the
//! rows that a start without the database runs (`snapshot`).

pub mod known;

pub mod rows;

pub mod snapshot;
