//! How many connections there are, in all and from each source.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
};

use crate::config::Limits;

/// Why there is no place for a connection.
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

/// An IPv4 address, or an IPv6 /64.
pub(crate) type Source = IpAddr;

/// Who counts as one source with `address`.
pub(crate) fn source(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Connections of one source, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Half open and established.
    pub(crate) connections: usize,
    pub(crate) half_open: usize,
    /// Half open, of initiators that have not shown that they are where they say.
    pub(crate) unproven: usize,
}

/// Whether the initiator of a handshake has shown that it receives what is sent to its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// It sent a token back.
    Proven,
    Unproven,
}

/// The connections of an endpoint or a listener. `H` is keyed: peers choose their addresses.
#[derive(Debug, Default)]
pub(crate) struct Counts<H> {
    all: Count,
    /// Only sources with a connection.
    sources: HashMap<Source, Count, H>,
}

/// Which kind of place a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    HalfOpen(Address),
    Established,
}

impl<H: BuildHasher> Counts<H> {
    pub(crate) fn new(hasher: H) -> Self {
        Self { all: Count::default(), sources: HashMap::with_hasher(hasher) }
    }

    pub(crate) fn all(&self) -> Count {
        self.all
    }

    pub(crate) fn of(&self, source: Source) -> Count {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// Whether there is a place for one more handshake of `source`.
    pub(crate) fn check(&self, source: Source, limits: &Limits) -> Result<(), TooMany> {
        let here = self.of(source);
        if self.all.connections >= limits.max_connections {
            Err(TooMany::Connections)
        } else if here.connections >= limits.max_connections_per_source {
            Err(TooMany::FromSource)
        } else if self.all.half_open >= limits.max_half_open {
            Err(TooMany::HalfOpen)
        } else if here.half_open >= limits.max_half_open_per_source {
            Err(TooMany::HalfOpenFromSource)
        } else {
            Ok(())
        }
    }

    /// Gives `source` a place.
    pub(crate) fn take(&mut self, source: Source, place: Place) {
        self.change(source, |count| {
            count.connections += 1;
            match place {
                Place::HalfOpen(Address::Proven) => count.half_open += 1,
                Place::HalfOpen(Address::Unproven) => {
                    count.half_open += 1;
                    count.unproven += 1;
                }
                Place::Established => {}
            }
        });
    }

    /// Takes back the place that `source` was given.
    pub(crate) fn give_back(&mut self, source: Source, place: Place) {
        self.change(source, |count| {
            count.connections -= 1;
            match place {
                Place::HalfOpen(Address::Proven) => count.half_open -= 1,
                Place::HalfOpen(Address::Unproven) => {
                    count.half_open -= 1;
                    count.unproven -= 1;
                }
                Place::Established => {}
            }
        });
    }

    /// Whether no source is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn change(&mut self, source: Source, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let here = self.sources.entry(source).or_default();
        change(here);
        if here.connections == 0 {
            self.sources.remove(&source);
        }
    }
}
