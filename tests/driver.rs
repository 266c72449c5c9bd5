//! The driver over real sockets: what it says of every way a target, a name or this host behaves.

#[path = "driver/addresses.rs"]
mod addresses;
#[path = "driver/bench.rs"]
mod bench;
#[path = "driver/deadlines.rs"]
mod deadlines;
#[path = "driver/keeping.rs"]
mod keeping;
#[path = "driver/local_faults.rs"]
mod local_faults;
#[path = "driver/name_server.rs"]
mod name_server;
#[path = "driver/outcomes.rs"]
mod outcomes;
#[path = "driver/redirects.rs"]
mod redirects;
