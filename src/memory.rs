//! The allocator: mimalloc, with a count for each thread.
//!
//! Owns: the choice and the count. After a load of very many monitors the system's own allocator
//! keeps what was freed between the specs that stay; mimalloc has pages for each size and gives
//! back those that are empty. The count costs one addition to a number of the thread for each
//! allocation: a check in steady state does none to three, so `engine bench` can say how many
//! without a second build.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

thread_local! {
    // Constant and without destructor: reading it is one instruction and allocates nothing.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The allocator with a count for each thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to mimalloc as it came; the count touches no memory but a
// number of this thread.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: see the trait; the caller's promises are passed on.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { MiMalloc.alloc(layout) }
    }

    // SAFETY: see the trait; the caller's promises are passed on.
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    // SAFETY: see the trait; the caller's promises are passed on.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    // SAFETY: see the trait; the caller's promises are passed on.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { MiMalloc.realloc(memory, layout, bytes) }
    }
}

fn count() {
    // A thread that is ending has no count any more, and nobody to read it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// Allocations and reallocations of this thread since it began.
pub fn thread_allocations() -> u64 {
    ALLOCATIONS.try_with(Cell::get).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_counts_for_the_thread_that_makes_it_and_for_no_other() {
        let before = thread_allocations();
        let boxed = std::hint::black_box(Box::new(7));
        assert_eq!(thread_allocations() - before, 1);
        drop(boxed);
        assert_eq!(thread_allocations() - before, 1);
        let before = thread_allocations();
        let other = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let none = thread_allocations();
                std::hint::black_box(vec![0u8; 64]);
                thread_allocations() - none
            });
            work.join().unwrap()
        });
        assert_eq!(other, 1);
        assert!(thread_allocations() > before, "spawning a thread allocates");
    }
}
