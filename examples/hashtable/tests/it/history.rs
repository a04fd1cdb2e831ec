//! Is a history of calls linearizable? Just-in-time linearization (Lowe, "Testing for
//! linearizability", 2017): a call may take effect at any time between its beginning and its end,
//! and only when one ends must it have.

use std::collections::{BTreeSet, HashSet};

/// A call on one key, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get(Option<String>),
    Put(String),
    CompareAndSwap { expected: Option<String>, value: String, swapped: bool },
    Delete { was_there: bool },
    Increment { by: i64, sum: i64 },
}

/// A call and its time: it began at tick `begun`, and ended at tick `ended`.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) call: Call,
}

/// What the key holds, and which calls have taken effect and not ended.
type Configuration = (Option<String>, BTreeSet<usize>);

/// Holds a history of one key, which holds nothing at first, against what a table is.
///
/// # Errors
///
/// The call by whose end no order of effects explains the answers any more.
pub(crate) fn check(history: &[Timed]) -> Result<(), Timed> {
    let begins = history.iter().enumerate().map(|(call, it)| (it.begun, call));
    let ends = history.iter().enumerate().map(|(call, it)| (it.ended, call));
    let mut events: Vec<(u64, usize, bool)> = begins
        .map(|(at, call)| (at, call, false))
        .chain(ends.map(|(at, call)| (at, call, true)))
        .collect();
    events.sort_unstable();
    let mut under_way = BTreeSet::new();
    let mut possible = HashSet::from([(None, BTreeSet::new())]);
    for (_, call, ends) in events {
        if ends {
            possible = after_end(call, possible, &under_way, history);
            under_way.remove(&call);
        } else {
            under_way.insert(call);
        }
        if possible.is_empty() {
            return Err(history[call].clone());
        }
    }
    Ok(())
}

/// All that may be once `call` has ended: it has taken effect, and others may have before it.
fn after_end(
    call: usize,
    possible: HashSet<Configuration>,
    under_way: &BTreeSet<usize>,
    history: &[Timed],
) -> HashSet<Configuration> {
    let mut seen = possible.clone();
    let mut left: Vec<_> = possible.into_iter().collect();
    let mut after = HashSet::new();
    while let Some((value, mut effective)) = left.pop() {
        if effective.remove(&call) {
            after.insert((value, effective));
            continue;
        }
        for next in under_way.difference(&effective) {
            if let Some(value) = effect(&history[*next].call, value.as_deref()) {
                let mut effective = effective.clone();
                effective.insert(*next);
                let reached = (value, effective);
                if seen.insert(reached.clone()) {
                    left.push(reached);
                }
            }
        }
    }
    after
}

/// What the key holds behind the call; `None` if that would have answered something else.
#[expect(clippy::option_option, reason = "the inner one is a key's value")]
fn effect(call: &Call, value: Option<&str>) -> Option<Option<String>> {
    let same = || value.map(ToOwned::to_owned);
    match call {
        Call::Get(answer) => (answer.as_deref() == value).then(same),
        Call::Put(value) => Some(Some(value.clone())),
        Call::CompareAndSwap { expected, value: new, swapped } => {
            let swaps = expected.as_deref() == value;
            (swaps == *swapped).then(|| if swaps { Some(new.clone()) } else { same() })
        }
        Call::Delete { was_there } => (value.is_some() == *was_there).then_some(None),
        Call::Increment { by, sum } => {
            let number: i64 = value.unwrap_or("0").parse().unwrap();
            (number + by == *sum).then(|| Some(sum.to_string()))
        }
    }
}

fn history(calls: impl IntoIterator<Item = (u64, u64, Call)>) -> Vec<Timed> {
    calls.into_iter().map(|(begun, ended, call)| Timed { begun, ended, call }).collect()
}

#[test]
fn calls_at_the_same_time_may_come_in_either_order_and_those_behind_may_not() {
    let increment = |sum| Call::Increment { by: 1, sum };
    let get = |text: &str| Call::Get(Some(text.to_owned()));
    check(&history([(1, 4, increment(2)), (2, 3, increment(1)), (5, 6, get("2"))])).unwrap();
    check(&history([(1, 2, increment(2)), (3, 4, increment(1))])).unwrap_err();
    // A read beside a write sees it or not, but not first the one and then the other.
    let put = || Call::Put("1".to_owned());
    check(&history([(1, 6, put()), (2, 3, Call::Get(None)), (4, 5, get("1"))])).unwrap();
    check(&history([(1, 6, put()), (2, 3, get("1")), (4, 5, Call::Get(None))])).unwrap_err();
}

#[test]
fn what_was_lost_ran_twice_or_was_seen_before_its_time_is_found() {
    let increment = |sum| Call::Increment { by: 1, sum };
    let lost = [(1, 2, increment(1)), (3, 4, Call::Get(None))];
    assert_eq!(check(&history(lost)).unwrap_err().ended, 4);
    let twice = [(1, 2, increment(1)), (3, 4, increment(3))];
    assert_eq!(check(&history(twice)).unwrap_err().ended, 4);
    let stale = [(1, 2, Call::Put("5".into())), (3, 4, Call::Get(None))];
    check(&history(stale)).unwrap_err();
    let swap = |swapped| Call::CompareAndSwap { expected: None, value: "1".into(), swapped };
    check(&history([(1, 2, swap(true)), (3, 4, swap(true))])).unwrap_err();
    check(&history([(1, 2, swap(true)), (3, 4, swap(false))])).unwrap();
    check(&history([(1, 2, Call::Delete { was_there: true })])).unwrap_err();
}
