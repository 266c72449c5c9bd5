//! Any bytes as the answer of an HTTP server: no panic, no growth, one outcome for every cut.
#![no_main]

#[path = "../../tests/harness/mod.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::explore(data));
