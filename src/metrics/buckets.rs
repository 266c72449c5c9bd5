//! The one table of duration buckets: exact below 128, then 64 buckets for each doubling.
//!
//! Owns: the mapping between a number and its bucket. It is fixed for ever, because bucket numbers
//! are stored; so histograms made anywhere merge by adding counts, in any order. Pure arithmetic,
//! about 2 ns a call, no allocation.

/// Numbers below this have a bucket each, so short durations stay exact.
const EXACT: u32 = 128;
/// Buckets for each doubling above: half a bucket is at most 1/128 of its value.
const PER_DOUBLING: u32 = 64;
/// Doublings from `EXACT` to the end of `u32`.
const DOUBLINGS: u32 = 25;

/// How many buckets there are.
pub const BUCKETS: u16 = (EXACT + DOUBLINGS * PER_DOUBLING) as u16;

/// Largest relative error of [`value_of`] after [`bucket_of`]: 1/128, or 0.78 %.
pub const RELATIVE_ERROR_MAX: f64 = 1.0 / 128.0;

/// The bucket of a number, 0 to `BUCKETS - 1`; larger numbers never have a lower bucket.
pub fn bucket_of(value: u32) -> u16 {
    if value < EXACT {
        return value as u16;
    }
    let doubling = value.ilog2() - EXACT.ilog2();
    let within = (value >> (doubling + 1)) - PER_DOUBLING;
    (EXACT + doubling * PER_DOUBLING + within) as u16
}

/// Where a bucket starts. A number past the last bucket stands for the last one.
pub fn start_of(bucket: u16) -> u32 {
    let bucket = u32::from(bucket.min(BUCKETS - 1));
    if bucket < EXACT {
        return bucket;
    }
    let doubling = (bucket - EXACT) / PER_DOUBLING;
    let within = (bucket - EXACT) % PER_DOUBLING;
    (PER_DOUBLING + within) << (doubling + 1)
}

/// The middle of a bucket: the number that stands for all in it. It lies in the same bucket, so
/// quantising twice changes nothing.
pub fn value_of(bucket: u16) -> u32 {
    let bucket = bucket.min(BUCKETS - 1);
    let start = start_of(bucket);
    if u32::from(bucket) < EXACT {
        return start;
    }
    let doubling = (u32::from(bucket) - EXACT) / PER_DOUBLING;
    start + (1 << doubling)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_have_the_first_and_the_last_bucket() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
        assert_eq!(start_of(u16::MAX), start_of(BUCKETS - 1));
    }

    #[test]
    fn every_bucket_is_found_again_by_its_start_and_its_middle() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(start_of(bucket)), bucket);
            assert_eq!(bucket_of(value_of(bucket)), bucket);
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_of(start_of(bucket) - 1), bucket - 1);
        }
    }

    proptest! {
        #[test]
        fn no_number_moves_by_more_than_the_stated_error(value: u32) {
            let stored = value_of(bucket_of(value));
            let error = f64::from(stored.abs_diff(value));
            prop_assert!(error <= f64::from(value) * RELATIVE_ERROR_MAX, "{value} as {stored}");
        }
    }
}
