//! Slices → shards, balanced by expected work: the longest first, each to whoever has least.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slices::SliceFacts;

/// For each shard the numbers of its slices, in ascending order. Of slices and of shards that are alike the first goes
/// first, so that the same listing is always dealt out alike.
///
/// Longest processing time first: at worst 4/3 of the best there is (Graham, 1969).
#[must_use]
pub fn deal(slices: &[SliceFacts], shards: u32) -> Vec<Vec<u32>> {
    let mut longest: Vec<u32> = (0..slices.len() as u32).collect();
    let work = |slice: u32| (slices[slice as usize].core_seconds * 1e3) as u64;
    longest.sort_by_key(|slice| (Reverse(work(*slice)), *slice));
    let mut dealt = vec![vec![]; shards as usize];
    let mut least: BinaryHeap<Reverse<(u64, u32)>> = (0..shards).map(|shard| Reverse((0, shard))).collect();
    for slice in longest {
        let Some(Reverse((loaded, shard))) = least.pop() else { break };
        dealt[shard as usize].push(slice);
        least.push(Reverse((loaded + work(slice), shard)));
    }
    for slices in &mut dealt {
        slices.sort_unstable();
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::deal;
    use crate::plan::slices::SliceFacts;

    fn check(core_seconds: &[f64], shards: u32, expected: &[&[u32]]) {
        let facts = |core_seconds: &f64| SliceFacts { core_seconds: *core_seconds, ..SliceFacts::default() };
        let slices: Vec<SliceFacts> = core_seconds.iter().map(facts).collect();
        assert_eq!(deal(&slices, shards), expected);
    }

    #[test]
    fn the_longest_slices_go_first_and_ties_to_the_first_shard() {
        check(&[1.0, 1.0, 1.0, 1.0], 2, &[&[0, 2], &[1, 3]]);
        check(&[1.0, 1.0, 8.0, 2.0, 2.0, 2.0], 2, &[&[2], &[0, 1, 3, 4, 5]]);
    }

    #[test]
    fn there_may_be_more_shards_than_slices_and_one_shard_has_all_in_order() {
        check(&[3.0, 1.0], 4, &[&[0], &[1], &[], &[]]);
        check(&[1.0, 3.0, 2.0], 1, &[&[0, 1, 2]]);
        check(&[], 1, &[&[]]);
    }

    #[test]
    fn no_shard_has_much_more_than_its_share() {
        let slices: Vec<f64> = (0..1_000).map(|at| f64::from(at * 7919 % 100) + 20.0).collect();
        let facts: Vec<SliceFacts> =
            slices.iter().map(|s| SliceFacts { core_seconds: *s, ..SliceFacts::default() }).collect();
        let share = slices.iter().sum::<f64>() / 16.0;
        for dealt in deal(&facts, 16) {
            let work: f64 = dealt.iter().map(|slice| slices[*slice as usize]).sum();
            assert!(work < share * 1.02, "{work} of {share}");
        }
    }
}
