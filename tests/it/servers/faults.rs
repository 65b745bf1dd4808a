//! What our own S3 server does wrong, and when.
//!
//! Comes in: rules. Goes out: for each call the fault that a rule orders, and a record of all calls.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::watch;

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
    /// One bit of this byte of the body is another than the one that its checksum speaks of.
    FlippedByte(usize),
    /// The object is replaced, by itself with a new ETag, just before the call.
    ChangedEtag,
    /// No answer ever and nothing was done, neither of this call nor of any that comes after it: the moment for a test to
    /// kill its client, once [`Faults::is_frozen`] says so. Clearing the rules ends it.
    FreezeBefore,
    /// The same, but this call was done.
    FreezeAfter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Counted from 1, over the calls that the rule speaks of.
    Nth(u64),
    Every(u64),
    /// From the nth call on.
    From(u64),
    /// So many calls of a thousand, drawn by key and by how many calls about the key came before: whatever the order in
    /// which calls arrive, the same ones.
    Share {
        seed: u64,
        per_mille: u64,
    },
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
    /// How often the rules were cleared: what lets calls go that hang.
    cleared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Armed>,
    calls: Vec<Call>,
    counts: BTreeMap<Operation, u64>,
    in_flight: usize,
    max_in_flight: usize,
    /// Calls from here on are throttled while more than so many are in flight.
    capacity: Option<usize>,
    throttled: u64,
    /// Calls that a rule hit.
    struck: u64,
    /// A call was ordered to freeze everything, and what has become of it.
    freeze: Option<Freeze>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freeze {
    Ordered,
    Held,
}

/// A rule, and how many of the calls that it speaks of came.
#[derive(Debug)]
struct Armed {
    rule: Rule,
    /// `None`: any key.
    key: Option<String>,
    seen: u64,
    seen_of_key: BTreeMap<(Operation, String), u64>,
}

impl Faults {
    /// Adds a rule; it counts from now on.
    pub fn add(&self, rule: Rule) {
        self.arm(rule, None);
    }

    /// The same for the calls about one key alone.
    pub fn add_for_key(&self, key: &str, rule: Rule) {
        self.arm(rule, Some(key.to_owned()));
    }

    fn arm(&self, rule: Rule, key: Option<String>) {
        self.inner.lock().unwrap().rules.push(Armed { rule, key, seen: 0, seen_of_key: BTreeMap::new() });
    }

    /// Every rule, and what is frozen. Calls that hang end as if the connection was reset.
    pub fn clear(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.rules.clear();
        inner.freeze = None;
        inner.capacity = None;
        self.cleared.send_modify(|times| *times += 1);
    }

    /// Answers 503 SlowDown while more than so many calls are in flight.
    pub fn throttle_above(&self, calls: usize) {
        self.inner.lock().unwrap().capacity = Some(calls);
    }

    /// Answers of [`Faults::throttle_above`].
    pub fn throttled(&self) -> u64 {
        self.inner.lock().unwrap().throttled
    }

    /// How many calls a rule hit.
    pub fn struck(&self) -> u64 {
        self.inner.lock().unwrap().struck
    }

    /// Calls from their arrival to the beginning of their answer, or to the end of a client that went away.
    pub fn in_flight(&self) -> usize {
        self.inner.lock().unwrap().in_flight
    }

    /// The most at once since the last time that this was asked.
    pub fn take_max_in_flight(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        let now = inner.in_flight;
        std::mem::replace(&mut inner.max_in_flight, now)
    }

    /// Notes that a call is in flight for as long as the value lives.
    pub fn enter(&self) -> InFlight<'_> {
        let mut inner = self.inner.lock().unwrap();
        inner.in_flight += 1;
        inner.max_in_flight = inner.max_in_flight.max(inner.in_flight);
        InFlight(self)
    }

    /// Whether the call that [`Fault::FreezeBefore`] or [`Fault::FreezeAfter`] hit is held: what it was to do is done.
    pub fn is_frozen(&self) -> bool {
        self.inner.lock().unwrap().freeze == Some(Freeze::Held)
    }

    /// Holds a call until the rules are cleared.
    pub async fn hold(&self, fault: Fault) {
        let mut cleared = self.cleared.subscribe();
        if matches!(fault, Fault::FreezeBefore | Fault::FreezeAfter)
            && let Some(freeze) = &mut self.inner.lock().unwrap().freeze
        {
            *freeze = Freeze::Held;
        }
        let _ = cleared.changed().await;
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
        if inner.freeze.is_some() {
            return Some(Fault::HangBefore);
        }
        for Armed { rule, key: only, seen, seen_of_key } in &mut inner.rules {
            if rule.operation.is_some_and(|of| of != operation) || only.as_ref().is_some_and(|only| only != key) {
                continue;
            }
            *seen += 1;
            let of_key = seen_of_key.entry((operation, key.to_owned())).or_default();
            *of_key += 1;
            let fits = match rule.when {
                When::Nth(nth) => *seen == nth,
                When::Every(nth) => *seen % nth == 0,
                When::From(nth) => *seen >= nth,
                When::Share { seed, per_mille } => draw(seed, operation, key, *of_key) % 1000 < per_mille,
            };
            if fits && ordered.is_none() {
                ordered = Some(rule.fault);
            }
        }
        inner.struck += u64::from(ordered.is_some());
        if matches!(ordered, Some(Fault::FreezeBefore | Fault::FreezeAfter)) {
            inner.freeze = Some(Freeze::Ordered);
        }
        if ordered.is_none() && inner.capacity.is_some_and(|capacity| inner.in_flight > capacity) {
            inner.throttled += 1;
            return Some(Fault::Status(503, "SlowDown"));
        }
        ordered
    }
}

/// A call on its way through the server.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Faults);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().unwrap().in_flight -= 1;
    }
}

/// FNV-1a, then a mixer: the same on every machine and in every year.
fn draw(seed: u64, operation: Operation, key: &str, nth: u64) -> u64 {
    let numbers = [seed, operation as u64, nth].map(u64::to_le_bytes);
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for byte in numbers.as_flattened().iter().chain(key.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
