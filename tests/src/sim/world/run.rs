//! How a world goes on: from event to event, each at its time.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::{NodeId, SOCKET_BUFFER, World};
use crate::sim::link::{Arrival, Fate};
use crate::sim::node::Node;
use crate::sim::trace::{Captured, Event};

/// What was waited for has not happened in the time given to it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it has not happened within {0:?}")]
pub struct Elapsed(pub Duration);

/// Ordered by arrival, then by when it was sent; no two are equal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnderWay {
    at: Duration,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

enum Next {
    Arrival,
    Timeout(usize),
}

impl<N: Node> World<N> {
    /// Moves the clock to the next event, lets it happen, and sends what the nodes then want to send.
    /// Returns whether there was one.
    pub fn step(&mut self) -> bool {
        self.step_before(Duration::MAX)
    }

    /// Goes on for `time`, whatever happens or not.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while self.step_before(end) {}
        self.elapsed = end;
    }

    /// Goes on until `happened`, which is asked before each step.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if it has not happened after `limit`, or cannot any more.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut happened: impl FnMut(&Self) -> bool,
    ) -> Result<(), Elapsed> {
        let end = self.elapsed + limit;
        while !happened(self) {
            if !self.step_before(end) {
                self.elapsed = end;
                return if happened(self) { Ok(()) } else { Err(Elapsed(limit)) };
            }
        }
        Ok(())
    }

    /// Goes on until nothing is under way and nobody waits for a time.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if something is to come after `limit`.
    pub fn run_until_idle(&mut self, limit: Duration) -> Result<(), Elapsed> {
        let end = self.elapsed + limit;
        while self.step_before(end) {}
        if self.next().is_none() { Ok(()) } else { Err(Elapsed(limit)) }
    }

    fn step_before(&mut self, end: Duration) -> bool {
        self.settle();
        let Some((at, next)) = self.next().filter(|(at, _)| *at <= end) else {
            return false;
        };
        if at > self.elapsed {
            self.elapsed = at;
            self.stuck = 0;
        }
        match next {
            Next::Arrival => self.arrive(),
            Next::Timeout(index) => self.time_out(index),
        }
        self.settle();
        true
    }

    fn next(&self) -> Option<(Duration, Next)> {
        let arrival = self.under_way.peek().map(|next| next.0.at);
        let timeout = (self.hosts.iter().enumerate())
            .filter(|(_, host)| host.stopped.is_none())
            .filter_map(|(index, host)| Some((host.due?, index)))
            .min();
        match (arrival, timeout) {
            (Some(at), Some((due, index))) if due < at => Some((due, Next::Timeout(index))),
            (Some(at), _) => Some((at, Next::Arrival)),
            (None, timeout) => timeout.map(|(due, index)| (due, Next::Timeout(index))),
        }
    }

    fn arrive(&mut self) {
        let now = self.now();
        self.stuck = 0;
        let Some(Reverse(UnderWay { from, to, mut datagram, .. })) = self.under_way.pop() else {
            return;
        };
        let Some(&id) = self.addresses.get(&to) else {
            self.unroutable += 1;
            return;
        };
        self.trace.record(Event::Arrived, self.elapsed, id.0, &datagram);
        let host = &mut self.hosts[id.0];
        match &mut host.stopped {
            None => host.node.handle_datagram(from, &mut datagram, now),
            Some(waiting) if waiting.len() < SOCKET_BUFFER => waiting.push_back((from, datagram)),
            Some(_) => {} // as a full socket does
        }
        host.touched = true;
    }

    fn time_out(&mut self, index: usize) {
        self.stuck += 1;
        assert!(self.stuck < STUCK, "node {index} asks for timeouts that have passed, for ever");
        self.trace.record(Event::TimedOut, self.elapsed, index, &[]);
        let now = self.now();
        let host = &mut self.hosts[index];
        host.node.handle_timeout(now);
        host.touched = true;
    }

    /// Sends what the nodes that were touched want to send, and learns when they are due.
    fn settle(&mut self) {
        let now = self.now();
        for index in 0..self.hosts.len() {
            if !self.hosts[index].touched || self.hosts[index].stopped.is_some() {
                continue;
            }
            let mut burst = 0;
            while let Some((to, datagram)) = self.hosts[index].node.poll_transmit(now) {
                burst += 1;
                assert!(burst < BURST, "node {index} sends for ever");
                self.transmit(NodeId(index), to, datagram);
            }
            let host = &mut self.hosts[index];
            host.touched = false;
            // A time that has passed is due now: the clock does not go back.
            let due = host.node.next_timeout().map(|at| at.saturating_duration_since(self.base));
            host.due = due.map(|at| at.max(self.elapsed));
        }
    }

    fn transmit(&mut self, id: NodeId, to: SocketAddr, datagram: Vec<u8>) {
        self.trace.record(Event::Sent, self.elapsed, id.0, &datagram);
        let from = self.address(id);
        if let Some(captured) = &mut self.captured {
            captured.push(Captured { at: self.elapsed, from, to, datagram: datagram.clone() });
        }
        self.sent += 1;
        if self.cut.is_some_and(|cut| self.sent > cut) {
            return;
        }
        let Some(&destination) = self.addresses.get(&to) else {
            self.unroutable += 1;
            return;
        };
        let at = self.elapsed;
        match self.link(id, destination).judge(datagram.len(), to, at) {
            Fate::Lost => {}
            Fate::TooBig => {
                let now = self.now();
                self.hosts[id.0].node.handle_too_big(to, datagram.len(), now);
            }
            Fate::Arrives { first, again } => {
                if let Some(again) = again {
                    self.launch_copy(again, from, to, datagram.clone());
                }
                self.launch_copy(first, from, to, datagram);
            }
        }
    }

    fn launch_copy(&mut self, copy: Arrival, from: SocketAddr, to: SocketAddr, mut data: Vec<u8>) {
        copy.apply(&mut data);
        self.launch(self.elapsed + copy.after, from, to, data);
    }

    pub(super) fn launch(
        &mut self,
        at: Duration,
        from: SocketAddr,
        to: SocketAddr,
        datagram: Vec<u8>,
    ) {
        let number = self.datagrams;
        self.datagrams += 1;
        self.under_way.push(Reverse(UnderWay { at, number, from, to, datagram }));
    }
}

/// Timeouts in a row at one time; far beyond what nodes with equal timers have.
const STUCK: u32 = 10_000;

/// Datagrams of one node at one time; far beyond any window.
const BURST: u32 = 1_000_000;
