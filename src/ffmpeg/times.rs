//! Times that a decoder gave its frames → times that a clock can have: ascending, one for each frame. Pure.
//!
//! Recordings that were joined start their clock again; some streams give a time to every second picture only; one wrong
//! time can lie years away. Players count on in all these cases, and so does this.

/// A clock that goes back so far, and goes on from there, was set anew.
const RESTART_STEPS: i64 = 8;

/// No sum of times goes beyond this: a day in nanoseconds, ten thousand times.
const LATEST: i64 = 1 << 60;

/// The times, and what was wrong with those that were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// One for each frame, in units of the time base, strictly ascending.
    pub times: Vec<i64>,
    /// How often the clock started again.
    pub restarts: usize,
    /// Frames without a time of their own, or with one that cannot be.
    pub made_up: usize,
}

/// `given`: one entry for each frame in the order in which they are shown. `step`: from one frame to the next, for where
/// nothing else tells it; at least one unit.
#[must_use]
pub fn repair(given: &[Option<i64>], step: i64) -> Repaired {
    let step = step.max(1);
    let (continued, restarts) = without_restarts(given, step);
    let anchors = longest_ascent(&continued);
    let mut times = vec![0; given.len()];
    let mut before: Option<(usize, i64)> = None;
    for &at in &anchors {
        let time = continued[at].unwrap_or(0);
        match before {
            None => (0..at).for_each(|frame| times[frame] = time - step * (at - frame) as i64),
            Some((from, start)) => spread(&mut times[from + 1..at], start, time),
        }
        times[at] = time;
        before = Some((at, time));
    }
    let (from, start) = before.map_or((0, 0), |(at, time)| (at + 1, time + step));
    (from..given.len()).for_each(|frame| times[frame] = start + step * (frame - from) as i64);
    for frame in 1..times.len() {
        times[frame] = times[frame].max(times[frame - 1] + 1);
    }
    Repaired { times, restarts, made_up: given.len() - anchors.len() }
}

/// Evenly between two times.
fn spread(times: &mut [i64], start: i64, end: i64) {
    let parts = times.len() as i64 + 1;
    for (part, time) in (1..).zip(times) {
        *time = start + ((i128::from(end) - i128::from(start)) * i128::from(part) / i128::from(parts)) as i64;
    }
}

/// What comes after a restart is moved to where the part before it ended.
fn without_restarts(given: &[Option<i64>], step: i64) -> (Vec<Option<i64>>, usize) {
    let mut continued = Vec::with_capacity(given.len());
    let (mut offset, mut restarts) = (0, 0);
    let mut latest: Option<(usize, i64)> = None;
    for (at, time) in given.iter().enumerate() {
        let Some(time) = *time else {
            continued.push(None);
            continue;
        };
        if let Some((last_at, last)) = latest {
            let is_back =
                |time: i64| time.saturating_add(offset) < last.saturating_sub(step.saturating_mul(RESTART_STEPS));
            // One time that lies back is a wrong time; several that go on from there are another clock.
            let next: Vec<i64> = given[at..].iter().copied().flatten().take(4).collect();
            let goes_on = next.len() > 1 && next.iter().all(|next| is_back(*next)) && next.is_sorted();
            if is_back(time) && goes_on {
                offset = (last + step * (at - last_at) as i64 - time).clamp(-LATEST, LATEST);
                restarts += 1;
            }
        }
        let moved = time.saturating_add(offset).clamp(-LATEST, LATEST);
        continued.push(Some(moved));
        // A single time far ahead is no measure for those behind it.
        let is_ahead = given[at + 1..].iter().copied().flatten().next().is_some_and(|next| next < time);
        if latest.is_none_or(|(_, last)| moved > last) && !is_ahead {
            latest = Some((at, moved));
        }
    }
    (continued, restarts)
}

/// The places of the longest strictly ascending choice of times.
fn longest_ascent(times: &[Option<i64>]) -> Vec<usize> {
    // `ends[n]`: where the choice of n + 1 times ends whose end is least.
    let mut ends: Vec<usize> = vec![];
    let mut before: Vec<Option<usize>> = vec![None; times.len()];
    let value = |at: usize| times[at].unwrap_or(i64::MIN);
    for at in (0..times.len()).filter(|at| times[*at].is_some()) {
        let length = ends.partition_point(|end| value(*end) < value(at));
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) if value(at) < value(*end) => *end = at,
            Some(_) => {}
            None => ends.push(at),
        }
    }
    let mut chosen: Vec<usize> = std::iter::successors(ends.last().copied(), |at| before[*at]).collect();
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[Option<i64>], expected: &[i64], restarts: usize, made_up: usize) {
        let expected = Repaired { times: expected.to_vec(), restarts, made_up };
        assert_eq!(repair(given, 40), expected, "{given:?}");
    }

    #[test]
    fn good_times_stay_as_they_are() {
        check(&[Some(0), Some(40), Some(80)], &[0, 40, 80], 0, 0);
        check(&[Some(7), Some(47), Some(60_000)], &[7, 47, 60_000], 0, 0);
        check(&[], &[], 0, 0);
    }

    #[test]
    fn a_time_for_every_second_picture_serves_both() {
        check(&[Some(0), None, Some(80), None, Some(160), None], &[0, 40, 80, 120, 160, 200], 0, 3);
        check(&[Some(0), Some(0), Some(80), Some(80)], &[0, 40, 80, 120], 0, 2);
        check(&[None, None, Some(80)], &[0, 40, 80], 0, 2);
        check(&[None, None, None], &[0, 40, 80], 0, 3);
    }

    #[test]
    fn a_clock_that_starts_again_counts_on() {
        let recording = |frames: i64| (0..frames).map(|frame| Some(frame * 40));
        let joined: Vec<_> = recording(50).chain(recording(30)).collect();
        let expected: Vec<i64> = (0..80).map(|frame| frame * 40).collect();
        check(&joined, &expected, 1, 0);
        let thrice: Vec<_> = recording(50).chain(recording(30)).chain(recording(20)).collect();
        let expected: Vec<i64> = (0..100).map(|frame| frame * 40).collect();
        check(&thrice, &expected, 2, 0);
    }

    #[test]
    fn one_wrong_time_is_its_own_only() {
        for wrong in [8_000_000_000, -8_000_000_000, 0] {
            check(&[Some(0), Some(40), Some(wrong), Some(120), Some(160)], &[0, 40, 80, 120, 160], 0, 1);
        }
        check(&[Some(9_000_000), Some(40), Some(80), Some(120)], &[0, 40, 80, 120], 0, 1);
    }

    #[test]
    fn times_at_the_ends_of_numbers_do_no_harm() {
        let far = 1 << 53;
        for given in
            [vec![Some(far), Some(-far), Some(-far + 1), Some(-far + 2), Some(-far + 3)], vec![Some(-far), Some(far)]]
        {
            let falling: Vec<Option<i64>> = given.iter().copied().cycle().take(4_000).collect();
            for step in [1, 40, 1 << 40] {
                assert_eq!(repair(&falling, step).times.len(), 4_000);
            }
        }
    }

    #[test]
    fn times_ascend_whatever_was_given() {
        let given: Vec<_> = (0..200_i64).map(|i| (i % 7 != 0).then_some((i * 7_919) % 101)).collect();
        let repaired = repair(&given, 1);
        assert!(repaired.times.is_sorted_by(|a, b| a < b), "{repaired:?}");
        assert_eq!(repaired.times.len(), 200);
    }
}
