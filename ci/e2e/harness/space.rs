//! A network and a mount table of one's own.
//!
//! Owns: the thread that lives in new namespaces (unshare(2)). Sockets, farms and children made on
//! it are in them too; the rest of the machine sees nothing. Needs CAP_SYS_ADMIN.

use nix::sched::{CloneFlags, unshare};

use super::must_run;

/// Runs `test` on a thread with its own network, where only loopback is up, and its own mounts.
///
/// # Panics
///
/// With `test`, or where the namespaces are refused.
pub fn isolated(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("run as root, or with CAP_SYS_ADMIN");
        must_run("mount", &["--make-rprivate", "/"]);
        must_run("ip", &["link", "set", "lo", "up"]);
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
