//! How many connections there are, in all and from each source: counted before a byte is read.

use std::{
    hash::RandomState,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::Limits,
    proto::udp::sources::{Address, Counts, Place, Source, TooMany, source},
};

/// Counts a listener's connections. A clone counts the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    counts: Arc<Mutex<Counts<RandomState>>>,
    limits: Limits,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { counts: Arc::default(), limits: limits.clone() }
    }

    /// Counts a connection that has just come.
    pub(crate) fn enter(&self, from: IpAddr) -> Result<Entered, TooMany> {
        let source = source(from);
        let mut counts = self.lock();
        counts.check(source, &self.limits)?;
        // TCP's own handshake has shown the address.
        let place = Place::HalfOpen(Address::Proven);
        counts.take(source, place);
        Ok(Entered { admission: self.clone(), source, place })
    }

    fn lock(&self) -> MutexGuard<'_, Counts<RandomState>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    admission: Admission,
    source: Source,
    place: Place,
}

impl Entered {
    /// Whether no other handshake is under way.
    pub(crate) fn is_alone(&self) -> bool {
        self.admission.lock().all().half_open <= 1
    }

    /// The handshake has ended.
    pub(crate) fn established(&mut self) {
        let mut counts = self.admission.lock();
        counts.give_back(self.source, self.place);
        self.place = Place::Established;
        counts.take(self.source, self.place);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.admission.lock().give_back(self.source, self.place);
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
    fn a_handshake_is_alone_beside_any_number_of_connections_that_stand() {
        let admission = admission();
        let mut stands = admission.enter(address("10.0.0.1")).unwrap();
        stands.established();
        let one = admission.enter(address("10.0.0.1")).unwrap();
        assert!(one.is_alone());
        let _other = admission.enter(address("10.0.0.2")).unwrap();
        assert!(!one.is_alone());
    }

    #[test]
    fn a_connection_that_ends_gives_its_place_back() {
        let admission = admission();
        for _ in 0..100 {
            admission.enter(address("10.0.0.1")).unwrap();
        }
        assert!(admission.lock().is_empty());
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
