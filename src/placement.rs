//! Which CPU runs which thread.
//!
//! Owns: the choice. Shards are pinned, one to an allowed CPU; the other threads are left to the
//! scheduler, which finds the CPUs without a shard by itself.

use crate::limits::SHARDS_MAX;

/// More shards were asked for than there are CPUs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlacementError {
    /// The number does not fit.
    #[error(
        "--cores={asked}: this process may use {allowed} CPUs; write 1 to {allowed}, or leave it \
         out for all of them"
    )]
    Cores {
        /// As asked for.
        asked: usize,
        /// CPUs in the affinity mask of this process.
        allowed: usize,
    },
    /// The affinity mask cannot be read.
    #[error("the CPUs that this process may use cannot be read (sched_getaffinity)")]
    Unreadable,
}

/// The CPUs for `cores` shards, or for one on every allowed CPU where `None`.
///
/// # Errors
///
/// Zero, or more than this process may use.
pub fn shard_cpus(cores: Option<usize>) -> Result<Vec<usize>, PlacementError> {
    let allowed = core_affinity::get_core_ids().ok_or(PlacementError::Unreadable)?;
    let cpus: Vec<_> = allowed.into_iter().map(|core| core.id).take(SHARDS_MAX).collect();
    choose(cores, cpus)
}

fn choose(cores: Option<usize>, mut cpus: Vec<usize>) -> Result<Vec<usize>, PlacementError> {
    let allowed = cpus.len();
    let asked = cores.unwrap_or(allowed);
    if asked == 0 || asked > allowed {
        return Err(PlacementError::Cores { asked, allowed });
    }
    cpus.truncate(asked);
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_cpu_gets_a_shard_by_default() {
        assert_eq!(choose(None, vec![2, 5]), Ok(vec![2, 5]));
        assert_eq!(choose(Some(1), vec![2, 5]), Ok(vec![2]));
    }

    #[test]
    fn more_shards_than_cpus_is_an_error_that_says_so() {
        let error = choose(Some(3), vec![0, 1]).unwrap_err();
        assert!(error.to_string().contains("may use 2 CPUs"), "{error}");
        assert!(choose(Some(0), vec![0, 1]).is_err());
    }
}
