//! The engine: checks very many targets on time, from one machine.
//!
//! **A module uses only modules listed above it here**, plus `probes`; `ci/tidy` tests it.
//!
//! | module | owns |
//! |---|---|
//! | [`limits`] | every bound and default |
//! | [`ids`] | newtypes for numbers |
//! | [`clock`] | the only file that asks the operating system for the time |
//! | [`memory`] | the allocator: the system's, with a count for each thread |
//! | [`fault`] | our own troubles, and the owner of every errno |
//! | [`sample`] | one check as it is stored, and the batch that carries it |
//! | [`attempt`] | what one attempt of a check found: the target's outcome, or our own fault |
//! | [`sched`] | when checks start: timer wheel, spread, the due list |
//! | [`monitor`] | what to watch: rows read and checked, tables, verdicts, messages |
//! | [`config`] | the file of monitors and settings: read, checked, compared |
//! | [`env`](mod@env) | variables and `.env` files, with the names of the original service |
//! | [`metrics`] | numbers about ourselves: the ledger, snapshots, the page |
//! | [`hist`] | latency histograms as files and pictures |
//! | [`blackbox`] | modules and names of blackbox_exporter |
//! | [`logs`] | the original's log files: lines, files and the thread that writes them |
//! | [`messages`] | what crosses threads |
//! | [`net`] | sockets: the ring, streams, echo, names, and the driver that carries probes |
//! | [`guard`] | whether this host is cut off: canaries, evidence, the rule |
//! | [`pg`] | the way to a PostgreSQL server: settings, TLS, sessions with deadlines |
//! | [`store`] | the database: what is watched, what was found, and the thread that writes it |
//! | [`feed`] | the original's table as the source of monitors, live |
//! | [`alert`] | telling people: outbox, policy, channels |
//! | [`shard`] | one core's work: the synchronous shard and its loop |
//! | [`api`] | the HTTP side: metrics and health |
//! | [`placement`] | which CPU runs which thread |
//! | [`preflight`] | what this host allows, with cause and remedy |
//! | [`farm`] | scripted targets for the demo, the tests and the benches |
//! | [`boot`] | starts and stops the engine in order |
//! | [`control`] | the control thread: signals, the page of metrics, reload and stop |
//! | [`bench`](mod@bench) | the whole engine against targets of its own, beside a yardstick |
//! | [`cli`] | the command line: flags, texts, tables, the live view |
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod limits;

pub mod ids;

pub mod clock;

pub mod memory;

pub mod fault;

pub mod sample;

pub mod attempt;

pub mod sched;

pub mod monitor;

pub mod config;

pub mod env;

pub mod metrics;

pub mod hist;

pub mod blackbox;

pub mod logs;

pub mod messages;

pub mod net;

pub mod guard;

pub mod pg;

pub mod store;

pub mod feed;

pub mod alert;

pub mod shard;

pub mod api;

pub mod placement;

pub mod preflight;

pub mod farm;

pub mod boot;

pub mod control;

pub mod bench;

pub mod cli;
