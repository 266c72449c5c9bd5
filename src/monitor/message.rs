//! Stub.
use crate::attempt::Attempt;
use crate::monitor::Monitor;
pub fn attempt_text(_m: &Monitor, _a: &Attempt) -> String {
    String::new()
}
pub fn check_text(_m: &Monitor, _a: &Attempt, _n: u8, _wall: u64) -> String {
    String::new()
}
