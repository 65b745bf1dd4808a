//! How many requests one client has under way, and how long it waits out a throttle.
//!
//! Comes in: what each attempt of a request was answered, those included that the SDK makes by itself. Goes out: permits,
//! of which there are fewer the more a server throttles. It never sends anything, and never makes a request fail that was
//! not refused.
//!
//! Additive increase, multiplicative decrease, as TCP finds its share of a line: a throttle halves what may be under way,
//! each round of good answers adds one. A permit is held through every pause between two attempts, the SDK's and our own, so
//! that a throttled server meets a request now and then instead of a storm.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Throttles;
use super::errors::{Failure, is_throttle};
use crate::storage::PaceSnapshot;

/// Requests under way at most, where nobody throttles: twice what a run asks for at once (fetches, pages of listings,
/// parts), so that it never binds by itself.
pub(super) const MAX_REQUESTS: usize = 64;

/// From one halving to the next at least. What was under way when the first answer of a burst came is answered by then, and
/// says nothing new.
const BURST: Duration = Duration::from_millis(250);

/// Between two requests that were throttled, on top of the SDK's own pauses; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// A request may be refused for this share of the patience before it can be called the only one that is.
const ALONE_AFTER: u32 = 5;

/// Where each answer may be a throttle with the share that was seen, how unlikely it must be that one request met nothing
/// else, before its object is to blame: of a million objects under a heavy throttle a hundred would be.
const CHANCE: f64 = 1e-4;

/// Of one client. Its clones share it.
#[derive(Debug)]
pub(super) struct Pace {
    permits: Semaphore,
    state: Mutex<State>,
    patience: Duration,
}

#[derive(Debug, Clone, Copy)]
struct State {
    limit: usize,
    /// Permits to take out of use once they come back: the limit was cut below what was under way.
    owed: usize,
    in_flight: usize,
    /// The most under way since the last cut; what a limit far above it says is nothing.
    peak: usize,
    /// Good answers since the limit last changed.
    good: usize,
    cut_at: Option<Instant>,
    answers: Answers,
}

/// Since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    served: u64,
    throttled: u64,
}

impl Pace {
    pub fn new(patience: Duration) -> Self {
        let limit = MAX_REQUESTS;
        let state = State { limit, owed: 0, in_flight: 0, peak: 0, good: 0, cut_at: None, answers: Answers::default() };
        Self { permits: Semaphore::new(limit), state: Mutex::new(state), patience }
    }

    pub fn snapshot(&self) -> PaceSnapshot {
        let State { limit, answers, .. } = *self.state();
        PaceSnapshot { limit, max_limit: MAX_REQUESTS, served: answers.served, throttled: answers.throttled }
    }

    /// Sends a request as often as it is throttled, for as long as that may last.
    pub async fn keep<T, F>(&self, mut send: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut wait: Option<Wait> = None;
        loop {
            let permit = self.permit().await;
            let answer = send().await;
            let mut failure = match answer {
                Err(failure) if failure.is_throttled() => failure,
                answer => return answer,
            };
            let answers = self.state().answers;
            let wait = wait.get_or_insert_with(|| Wait::new(answers, self.patience));
            match wait.verdict(answers) {
                Verdict::Again(pause) => {
                    tokio::time::sleep(pause).await;
                    drop(permit); // behind those who wait, and whose turn may be the one that is served
                }
                Verdict::GivenUp { others_served } => {
                    failure.others_served = others_served;
                    return Err(failure);
                }
            }
        }
    }

    async fn permit(&self) -> Permit<'_> {
        // It is never closed; a request without a permit would do no harm.
        let permit = self.permits.acquire().await.ok();
        let mut state = self.state();
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        Permit { pace: self, permit }
    }

    fn served(&self) {
        let mut state = self.state();
        state.answers.served += 1;
        if state.limit == MAX_REQUESTS {
            return;
        }
        state.good += 1;
        if state.good < state.limit {
            return;
        }
        state.good = 0;
        state.limit += 1;
        match state.owed {
            0 => self.permits.add_permits(1),
            _ => state.owed -= 1,
        }
        if state.limit == MAX_REQUESTS {
            tracing::info!(throttled = state.answers.throttled, "S3 throttles no longer");
        }
    }

    fn throttled(&self, now: Instant) {
        let mut state = self.state();
        state.answers.throttled += 1;
        if state.cut_at.is_some_and(|cut_at| now.duration_since(cut_at) < BURST) {
            return;
        }
        let limit = (state.limit.min(state.peak.max(1)) / 2).max(1);
        if state.limit == MAX_REQUESTS {
            tracing::warn!("S3 throttles: at most {limit} requests at once, and more again as it lets them through");
        }
        let surplus = state.limit - limit;
        state.owed += surplus - self.permits.forget_permits(surplus);
        (state.limit, state.good, state.cut_at, state.peak) = (limit, 0, Some(now), state.in_flight);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way.
struct Permit<'a> {
    pace: &'a Pace,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.in_flight -= 1;
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

/// Of one request that is throttled, from the first time on.
struct Wait {
    since: Instant,
    before: Answers,
    refusals: i32,
    pause: Duration,
    patience: Duration,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Again(Duration),
    GivenUp { others_served: bool },
}

impl Wait {
    fn new(before: Answers, patience: Duration) -> Self {
        Self { since: Instant::now(), before, refusals: 0, pause: FIRST_PAUSE, patience }
    }

    fn verdict(&mut self, now: Answers) -> Verdict {
        self.refusals += 1;
        let (served, throttled) = (now.served - self.before.served, now.throttled - self.before.throttled);
        let share = throttled as f64 / (served + throttled).max(1) as f64;
        let waited = self.since.elapsed();
        // A gateway with a broken disk answers SlowDown too, about what lies there and for ever.
        let alone = served > 0 && waited >= self.patience / ALONE_AFTER && share.powi(self.refusals) < CHANCE;
        if alone || waited >= self.patience {
            return Verdict::GivenUp { others_served: served > 0 };
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_PAUSE);
        // Spread, so that those who were refused together do not come back together.
        Verdict::Again(pause.mul_f64(0.5 + 0.5 * random_share()).min(self.patience.saturating_sub(waited)))
    }
}

fn random_share() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

/// Tells a pace of every attempt, however many of them the SDK makes of one request.
#[derive(Debug)]
pub(super) struct Watch {
    pub pace: Arc<Pace>,
    pub throttles: Throttles,
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(answer) = context.response() else { return Ok(()) };
        let status = answer.status().as_u16();
        // Of errors the body is in memory by now.
        let text = answer.body().bytes().filter(|_| status >= 400).map(String::from_utf8_lossy).unwrap_or_default();
        let code =
            text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
        match status {
            _ if is_throttle(status, code) => {
                self.throttles.one_more();
                self.pace.throttled(Instant::now());
            }
            500.. => {}
            _ => self.pace.served(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_halves_once_and_rounds_of_good_answers_bring_it_back() {
        let pace = Pace::new(Duration::ZERO);
        let limit = || pace.snapshot().limit;
        pace.state().peak = MAX_REQUESTS;
        let start = Instant::now();
        for _ in 0..20 {
            pace.throttled(start);
        }
        assert_eq!((limit(), pace.permits.available_permits()), (32, 32));
        for answers in 0..33 {
            assert_eq!(limit(), if answers < 32 { 32 } else { 33 });
            pace.served();
        }
        (0..10_000).for_each(|_| pace.served());
        assert_eq!((limit(), pace.permits.available_permits()), (MAX_REQUESTS, MAX_REQUESTS));
        for round in 1..20 {
            pace.throttled(start + BURST * round);
        }
        assert_eq!((limit(), pace.permits.available_permits(), pace.snapshot().throttled), (1, 1, 39));
    }

    #[tokio::test]
    async fn what_is_under_way_counts_against_a_limit_that_was_cut() {
        let pace = Pace::new(Duration::ZERO);
        let mut under_way = Vec::new();
        for _ in 0..10 {
            under_way.push(pace.permit().await);
        }
        pace.throttled(Instant::now());
        assert_eq!(pace.snapshot().limit, 5, "half of what was under way, not of what might have been");
        assert_eq!(pace.permits.available_permits(), 0);
        under_way.truncate(5);
        assert_eq!(pace.permits.available_permits(), 0);
        under_way.clear();
        assert_eq!((pace.permits.available_permits(), pace.state().owed), (5, 0));
    }

    fn check(patience_ms: u64, served: u64, refusals: u64, expected: Option<bool>) {
        let mut wait = Wait::new(Answers::default(), Duration::from_millis(patience_ms));
        let mut verdict = Verdict::Again(Duration::ZERO);
        wait.since -= Duration::from_secs(60);
        for refusal in 1..=refusals {
            verdict = wait.verdict(Answers { served: served * refusal, throttled: refusal });
        }
        let found = if let Verdict::GivenUp { others_served } = verdict { Some(others_served) } else { None };
        assert_eq!(found, expected, "{patience_ms} ms, {served} served for each of {refusals} refusals");
    }

    #[test]
    fn a_request_is_given_up_after_its_time_or_where_it_is_the_only_one_that_is_refused() {
        check(300_000, 0, 100, None); // nobody is served
        check(50_000, 0, 10, Some(false));
        check(50_000, 1, 10, Some(true));
        check(300_000, 1, 5, None); // may well be chance: one of 32
        check(300_000, 100, 2, Some(true)); // one of 10,000
        check(301_000, 100, 2, None); // not long enough yet
    }
}
