//! What our own S3 server does wrong, and when.
//!
//! Comes in: rules. Goes out: for each call the fault that a rule orders, and a record of all calls.

use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    HeadBucket,
    List,
    Get,
    Head,
    Put,
}

/// One request as the server met it. SDK retries are requests of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub operation: Operation,
    /// Of an object; the prefix of a listing.
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers so and does nothing: (500, "InternalError"), (503, "SlowDown"), (409, "ConditionalRequestConflict").
    Status(u16, &'static str),
    /// The connection ends without an answer, and nothing was done.
    ResetBefore,
    /// The connection ends without an answer, although the write was done.
    ResetAfter,
    /// No answer ever, and nothing was done.
    HangBefore,
    /// No answer ever, although the write was done.
    HangAfter,
    /// The body breaks off after so many bytes.
    CutBody(usize),
    /// The body stops after so many bytes; the connection stays.
    StallBody(usize),
    /// The object is replaced, by itself with a new ETag, just before the call.
    ChangedEtag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Counted from 1, over the calls that the rule speaks of.
    Nth(u64),
    Every(u64),
    /// From the nth call on.
    From(u64),
}

#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `None`: any operation.
    pub operation: Option<Operation>,
    pub when: When,
    pub fault: Fault,
}

#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Armed>,
    calls: Vec<Call>,
    counts: BTreeMap<Operation, u64>,
}

/// A rule, and how many of the calls that it speaks of came.
#[derive(Debug)]
struct Armed {
    rule: Rule,
    /// `None`: any key.
    key: Option<String>,
    seen: u64,
}

impl Faults {
    /// Adds a rule; it counts from now on.
    pub fn add(&self, rule: Rule) {
        self.inner.lock().unwrap().rules.push(Armed { rule, key: None, seen: 0 });
    }

    /// The same for the calls about one key alone.
    pub fn add_for_key(&self, key: &str, rule: Rule) {
        self.inner.lock().unwrap().rules.push(Armed { rule, key: Some(key.to_owned()), seen: 0 });
    }

    pub fn clear(&self) {
        self.inner.lock().unwrap().rules.clear();
    }

    pub fn calls(&self) -> Vec<Call> {
        self.inner.lock().unwrap().calls.clone()
    }

    pub fn count(&self, operation: Operation) -> u64 {
        self.inner.lock().unwrap().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Notes the call and says what to do wrong; the first rule that fits decides.
    pub fn meet(&self, operation: Operation, key: &str) -> Option<Fault> {
        let mut inner = self.inner.lock().unwrap();
        inner.calls.push(Call { operation, key: key.to_owned() });
        *inner.counts.entry(operation).or_default() += 1;
        let mut ordered = None;
        for Armed { rule, key: only, seen } in &mut inner.rules {
            if rule.operation.is_some_and(|of| of != operation) || only.as_ref().is_some_and(|only| only != key) {
                continue;
            }
            *seen += 1;
            let fits = match rule.when {
                When::Nth(nth) => *seen == nth,
                When::Every(nth) => *seen % nth == 0,
                When::From(nth) => *seen >= nth,
            };
            if fits && ordered.is_none() {
                ordered = Some(rule.fault);
            }
        }
        ordered
    }
}
