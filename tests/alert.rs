//! Alerts as their receivers see them: what is told, that it arrives, and under which key.

#[path = "alert/bench.rs"]
mod bench;
#[path = "alert/canaries.rs"]
mod canaries;
#[path = "alert/delivery.rs"]
mod delivery;
#[path = "alert/firebase.rs"]
mod firebase;
#[path = "alert/marks.rs"]
mod marks;
#[path = "alert/originals.rs"]
mod originals;
#[path = "alert/post.rs"]
mod post;
#[path = "alert/receivers.rs"]
mod receivers;
#[path = "alert/recorder.rs"]
mod recorder;
#[path = "alert/secure.rs"]
mod secure;
#[path = "alert/telling.rs"]
mod telling;
#[path = "alert/together.rs"]
mod together;
