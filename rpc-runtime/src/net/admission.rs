//! How many connections there are, in all and from each source: counted before a byte is read.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::config::Limits;

/// Why a connection was closed as soon as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    Connections,
    FromSource,
    HalfOpen,
    HalfOpenFromSource,
}

impl TooMany {
    /// What it is called on record.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Connections => "too_many_connections",
            Self::FromSource => "too_many_connections_from_source",
            Self::HalfOpen => "too_many_half_open",
            Self::HalfOpenFromSource => "too_many_half_open_from_source",
        }
    }
}

/// Counts a listener's connections. A clone counts the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    counts: Arc<Mutex<Counts>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    /// Only sources with a connection; std's hash is keyed, and addresses are chosen by peers.
    sources: HashMap<Source, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connections: usize,
    half_open: usize,
}

/// An IPv4 address, or an IPv6 /64.
type Source = IpAddr;

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { counts: Arc::default(), limits: limits.clone() }
    }

    /// Counts a connection that has just come.
    pub(crate) fn enter(&self, from: IpAddr) -> Result<Entered, TooMany> {
        let source = source(from);
        let mut counts = self.lock();
        let here = counts.sources.get(&source).copied().unwrap_or_default();
        let limits = &self.limits;
        if counts.all.connections >= limits.max_connections {
            return Err(TooMany::Connections);
        } else if here.connections >= limits.max_connections_per_source {
            return Err(TooMany::FromSource);
        } else if counts.all.half_open >= limits.max_half_open {
            return Err(TooMany::HalfOpen);
        } else if here.half_open >= limits.max_half_open_per_source {
            return Err(TooMany::HalfOpenFromSource);
        }
        counts.change(source, |count| {
            count.connections += 1;
            count.half_open += 1;
        });
        Ok(Entered { admission: self.clone(), source, half_open: true })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn change(&mut self, source: Source, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let here = self.sources.entry(source).or_default();
        change(here);
        if here.connections == 0 {
            self.sources.remove(&source);
        }
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    admission: Admission,
    source: Source,
    half_open: bool,
}

impl Entered {
    /// The handshake has ended.
    pub(crate) fn established(&mut self) {
        if std::mem::take(&mut self.half_open) {
            self.admission.lock().change(self.source, |count| count.half_open -= 1);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.established();
        self.admission.lock().change(self.source, |count| count.connections -= 1);
    }
}

fn source(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(&Limits {
            max_connections: 5,
            max_connections_per_source: 3,
            max_half_open: 4,
            max_half_open_per_source: 2,
            ..Limits::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_cannot_take_all_half_open_places() {
        let admission = admission();
        let _held = [0, 1].map(|_| admission.enter(address("10.0.0.1")).unwrap());
        let refused = admission.enter(address("10.0.0.1")).unwrap_err();
        assert_eq!(refused, TooMany::HalfOpenFromSource);
        assert!(admission.enter(address("10.0.0.2")).is_ok());
    }

    #[test]
    fn one_source_cannot_take_all_connections() {
        let admission = admission();
        let _held = [0, 1, 2].map(|_| {
            let mut entered = admission.enter(address("10.0.0.1")).unwrap();
            entered.established();
            entered
        });
        assert_eq!(admission.enter(address("10.0.0.1")).unwrap_err(), TooMany::FromSource);
    }

    #[test]
    fn all_places_are_bounded() {
        let admission = admission();
        let mut held = Vec::new();
        for last in 1..=4 {
            held.push(admission.enter(address(&format!("10.0.0.{last}"))).unwrap());
        }
        assert_eq!(admission.enter(address("10.0.0.9")).unwrap_err(), TooMany::HalfOpen);
        held.iter_mut().for_each(Entered::established);
        held.push(admission.enter(address("10.0.0.9")).unwrap());
        held.iter_mut().for_each(Entered::established);
        assert_eq!(admission.enter(address("10.0.0.10")).unwrap_err(), TooMany::Connections);
    }

    #[test]
    fn a_connection_that_ends_gives_its_place_back() {
        let admission = admission();
        for _ in 0..100 {
            admission.enter(address("10.0.0.1")).unwrap();
        }
        assert!(admission.lock().sources.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one_source() {
        let admission = admission();
        let _held = [1, 2].map(|n| admission.enter(address(&format!("2001:db8::{n}"))).unwrap());
        let refused = admission.enter(address("2001:db8::3")).unwrap_err();
        assert_eq!(refused, TooMany::HalfOpenFromSource);
        assert!(admission.enter(address("2001:db8:0:1::3")).is_ok());
    }

    #[test]
    fn an_ipv4_address_is_the_same_source_in_ipv6_dress() {
        assert_eq!(source(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
