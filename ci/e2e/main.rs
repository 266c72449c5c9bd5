//! The binary as its users meet it: started, asked, told to stop, and killed.
//!
//! Needs Linux with io_uring, root (network and mount namespaces) and the Debian packages
//! `nginx-light`, `iproute2`, `nftables` and `util-linux`; what is missing fails with its name.
//! Every engine has its own folder and port and ends with its test; nothing outside loopback is
//! asked.

mod harness;
#[path = "../../tests/alert/recorder.rs"]
mod recorder;

mod alert;
mod bench;
mod change;
mod check;
mod config;
mod database;
mod demo;
mod fault;
mod hist;
mod kill;
mod marks;
mod preflight;
mod probe;
mod scrape;
mod servers;
mod stop;
mod texts;
mod vantage;
mod watch;
