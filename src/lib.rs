//! The engine: checks very many targets on time, from one machine.
//!
//! **A module uses only modules listed above it here**, plus `probes`; `ci/tidy.rs` tests it.
//!
//! | module | owns |
//! |---|---|
//! | [`ids`] | newtypes for numbers |
//! | [`limits`] | every bound and default |
//! | [`clock`] | the only file that asks the operating system for the time |
//! | [`fault`] | our own troubles, and the owner of every errno |
//! | [`metrics`] | numbers about ourselves, the table of duration buckets |
//! | [`sample`] | one check as it is stored, and the batch that carries it |
//! | [`monitor`] | what to watch: rows read and checked, tables, verdicts, messages |
//! | [`config`] | the file of monitors and settings: read, checked, compared |
//! | [`messages`] | what crosses threads |
//! | [`store`] | the database: results, states, evidence, and the thread that writes them |
//! | [`preflight`] | what the host allows, with cause and remedy |
//! | [`farm`] | scripted targets for demos, tests and benchmarks |
//! | [`cli`] | the command line: flags, texts, tables, the live view |
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod ids;

pub mod limits;

pub mod clock;

pub mod fault;

pub mod metrics;

pub mod sample;

pub mod monitor;

pub mod config;

pub mod messages;

pub mod store;

pub mod preflight;

pub mod farm;

pub mod cli;
