//! The spool over a disk that fails, loses what was not synced, and has no room.

#[path = "spool/corruption.rs"]
mod corruption;
#[path = "spool/disk.rs"]
mod disk;
#[path = "spool/faults.rs"]
mod faults;
#[path = "spool/full.rs"]
mod full;
#[path = "spool/kill.rs"]
mod kill;
#[path = "spool/made.rs"]
mod made;
#[path = "spool/model.rs"]
mod model;
