//! Alerts as their receivers see them: what is told, that it arrives, and under which key.

#[path = "alert/bench.rs"]
mod bench;
#[path = "alert/delivery.rs"]
mod delivery;
#[path = "alert/recorder.rs"]
mod recorder;
#[path = "alert/telling.rs"]
mod telling;
#[path = "alert/together.rs"]
mod together;
