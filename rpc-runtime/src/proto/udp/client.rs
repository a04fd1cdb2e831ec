//! A client's end of UDP: a session, the way to it and to the next one, and the calls over it.
//!
//! A server that was restarted is silent: it cannot open our packets, and nobody else may say that
//! it is gone. So after three timeouts in a row another handshake begins beside the old session,
//! and whichever answers first goes on.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_crypto::{destination, initiator};
use rand_core::CryptoRng;

use super::{
    budget::RetryBudget,
    dial::{Connected, Dial, DialError, Dialled},
    link::{Link, Report, Transmit},
    reassembly::ReassemblyPool,
};
use crate::{
    config::Limits,
    error::Disconnected,
    proto::{
        answers::Answers,
        calls::{LaneId, Read, Sent},
        client::{SharedCalls, lock},
        frame,
        joined::Joined,
        session::Failure,
    },
};

/// Three timeouts in a row, each twice the one before, are so many times the first...
const SILENCE: u32 = 1 + 2 + 4;

/// ...and at the least this: a server that is only busy must not get handshakes on top.
const MIN_SILENCE: Duration = Duration::from_millis(250);

/// A session that was quiet for so long may keep so, and does not need its buffers. One that makes a
/// call now and then does not allocate them each time.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How a client over UDP stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There has been no session yet.
    Connecting,
    Connected,
    /// There has been none, and will be none.
    Failed(DialError),
    Ended(Disconnected),
}

pub(crate) struct UdpClient {
    calls: SharedCalls,
    config: initiator::Config,
    server: SocketAddr,
    limits: Limits,
    pool: Arc<ReassemblyPool>,
    link: Option<Link>,
    dial: Option<Dial>,
    standing: Standing,
    budget: RetryBudget,
    /// The longest frame that the server takes over TCP.
    bulk_frame: u32,
    /// When to ask which memory the server has of us, until it has said so.
    ask_memory: Option<Instant>,
    /// When to ask again what became of calls.
    ask_outcomes: Option<Instant>,
    /// Since when something is under way and nothing came.
    silent_since: Option<Instant>,
    /// When the next handshake may begin, should the last one have failed.
    dial_after: Option<Instant>,
    scratch: Vec<u8>,
    answered: Vec<(Sent, u64)>,
}

impl UdpClient {
    /// Begins to connect to `server`.
    pub(crate) fn start(
        config: initiator::Config,
        server: SocketAddr,
        limits: Limits,
        calls: SharedCalls,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let pool = ReassemblyPool::new(limits.max_reassembly_total);
        let dial = Dial::start(config.clone(), server, limits.clone(), Arc::clone(&pool), now, rng);
        Self {
            calls,
            config,
            server,
            budget: RetryBudget::new(limits.retries_per_second, now),
            limits,
            pool,
            link: None,
            dial: Some(dial),
            standing: Standing::Connecting,
            bulk_frame: 0,
            ask_memory: None,
            ask_outcomes: None,
            silent_since: None,
            dial_after: None,
            scratch: Vec::new(),
            answered: Vec::new(),
        }
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes one datagram, which is changed.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        match &self.link {
            Some(link) if destination(datagram) == Some(link.id()) => {
                self.handle_packet(datagram, from, now, rng);
            }
            _ => self.handle_dialled(datagram, from, now, rng),
        }
    }

    fn handle_packet(
        &mut self,
        packet: &mut [u8],
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(link) = &mut self.link else { return };
        let opened = link.counters().opened;
        let handled = {
            let mut calls = lock(&self.calls);
            let bulk_frame = Some(self.bulk_frame);
            let mut answers = Answers { calls: &mut calls, lane: LaneId::Main, bulk_frame, now };
            let answered = &mut self.answered;
            link.handle_datagram(packet, from, rng, now, &mut |frame| {
                answered.extend(answers.handle(&frame)?);
                Ok(())
            })
        };
        if link.counters().opened > opened {
            self.silent_since = None;
            // It is there after all.
            self.dial = None;
        }
        self.judge_answers(now);
        if let Err(failure) = handled {
            self.fail(&failure);
        }
    }

    /// What arriving answers tell about the path.
    fn judge_answers(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let mut last = None;
        for (sent, attempt) in self.answered.drain(..) {
            // An answer to an earlier attempt says nothing about the packet of the last.
            if sent.attempt == attempt && last != Some(sent.mark) {
                last = Some(sent.mark);
                link.answered(sent.mark, now);
                link.sample_rtt(now.saturating_duration_since(sent.at));
            }
        }
    }

    fn handle_dialled(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(dial) = &mut self.dial else { return };
        match dial.handle_datagram(datagram, from, now, rng) {
            Ok(Dialled::Waiting) => {}
            Ok(Dialled::Connected(connected)) => self.connected(*connected, now),
            Err(error) => self.dial_failed(error, now),
        }
    }

    /// A session stands; an older one is left behind.
    fn connected(&mut self, connected: Connected, now: Instant) {
        let Connected { link, since, params, frames } = connected;
        (self.dial, self.silent_since, self.dial_after) = (None, None, None);
        self.bulk_frame = params.max_frame;
        self.ask_memory = Some(now + link.rto());
        let mut calls = lock(&self.calls);
        if self.link.is_some() {
            calls.lost(LaneId::Main, &Disconnected::Truncated, Read::All);
        }
        let max_message = u32::try_from(link.max_message()).unwrap_or(u32::MAX);
        calls.connected(LaneId::Main, max_message, since);
        let bulk_frame = Some(self.bulk_frame);
        let mut answers = Answers { calls: &mut calls, lane: LaneId::Main, bulk_frame, now };
        // A frame that breaks the protocol here will be followed by others.
        let _ = frames.iter().try_for_each(|frame| answers.handle(&Joined::Lent(frame)).map(drop));
        drop(calls);
        self.link = Some(link);
        self.standing = Standing::Connected;
    }

    fn dial_failed(&mut self, error: DialError, now: Instant) {
        self.dial = None;
        match (&self.link, error) {
            (None, error) => {
                if self.standing == Standing::Connecting {
                    self.standing = Standing::Failed(error);
                }
            }
            (Some(_), DialError::Refused(alert)) => {
                self.fail(&Failure::silent(Disconnected::Alert(alert)));
            }
            // The old session goes on until it has been idle for too long.
            (Some(_), _) => self.dial_after = Some(now + self.limits.max_reconnect_pause),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        if !matches!(self.standing, Standing::Ended(_)) {
            lock(&self.calls).lost(LaneId::Main, &failure.why, Read::All);
            self.standing = Standing::Ended(failure.why.clone());
        }
        self.dial = None;
    }

    /// Puts datagrams into `out`, which is empty; `None` if nothing is to be sent now.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        rng: &mut impl CryptoRng,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Option<Transmit> {
        if let Some(dial) = &mut self.dial
            && let Some(transmit) = dial.poll_transmit(now, out)
        {
            return Some(transmit);
        }
        self.take_calls(now);
        let link = self.link.as_mut()?;
        let transmit = link.poll_transmit(now, out, max_segments);
        self.heed_reports(now, rng);
        transmit
    }

    /// Hands what callers have marshalled to the link, which packs it.
    fn take_calls(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let mut calls = lock(&self.calls);
        self.scratch.clear();
        calls.take_control(LaneId::Main, now, &mut self.scratch);
        if !self.scratch.is_empty() {
            // Frames of a few bytes, which every peer takes.
            let _ = link.send(&self.scratch, None);
        }
        loop {
            self.scratch.clear();
            let Some(call) = calls.take_call(LaneId::Main, now, &mut self.scratch) else { break };
            // Its length was checked when it began, against this peer or the one before; one that
            // is too long for this one goes by TCP.
            if link.send(&self.scratch, Some(call)).is_err() {
                calls.send_again(LaneId::Bulk, call);
            }
        }
        calls.set_backlog(LaneId::Main, link.unsent());
    }

    fn heed_reports(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let Some(link) = &mut self.link else { return };
        let mut calls = None;
        while let Some(report) = link.poll_report() {
            let calls = calls.get_or_insert_with(|| lock(&self.calls));
            let rtt = link.rtt();
            let mut wait = |before: u64| {
                rtt.backoff(u32::try_from(before).unwrap_or(u32::MAX), rng.next_u32())
            };
            match report {
                Report::Sent { tag, packet } => {
                    self.silent_since.get_or_insert(now);
                    if calls.departed(tag, packet, now, &mut wait) == Some(0) {
                        self.budget.called();
                    }
                }
                // It is the answer's turn now.
                Report::Delivered { tag } => {
                    calls.departed(tag, u64::MAX, now, &mut wait);
                }
                Report::Undelivered { tag } => calls.send_again(LaneId::Main, tag),
                Report::Lost { packet } => {
                    if self.budget.take(now) {
                        calls.resend_packet(LaneId::Main, packet);
                    }
                }
            }
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        self.rest(now);
        self.resend(now);
        self.ask(now);
        if let Some(link) = &mut self.link
            && let Err(failure) = link.handle_timeout(now)
        {
            self.fail(&failure);
        }
        if let Some(dial) = &mut self.dial
            && let Err(error) = dial.handle_timeout(now, rng)
        {
            self.dial_failed(error, now);
        }
        if self.dial_at().is_some_and(|at| at <= now) {
            self.silent_since = Some(now);
            let (config, limits) = (self.config.clone(), self.limits.clone());
            let pool = Arc::clone(&self.pool);
            self.dial = Some(Dial::start(config, self.server, limits, pool, now, rng));
        }
    }

    /// Sends calls again whose answers are late, as far as the budget goes.
    fn resend(&mut self, now: Instant) {
        let mut calls = lock(&self.calls);
        calls.expire(now);
        let Some(link) = &mut self.link else { return };
        let budget = &mut self.budget;
        calls.resend_due(LaneId::Main, now, |due| {
            if link.is_sending(due.call) {
                return Some(now + link.rto());
            }
            link.timed_out(due.mark, now);
            (!budget.take(now)).then(|| budget.next_at().max(now + Duration::from_millis(1)))
        });
    }

    /// Asks what the server has not said.
    fn ask(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let again = now + 2 * link.rto();
        if self.ask_memory.is_some_and(|at| at <= now) {
            let mut question = Vec::new();
            frame::put_which_memory(&mut question);
            let said = lock(&self.calls).is_open(LaneId::Main);
            self.ask_memory = (!said).then_some(again);
            if !said {
                let _ = link.send(&question, None);
            }
        }
        let mut calls = lock(&self.calls);
        if !calls.is_asking() {
            self.ask_outcomes = None;
        } else if *self.ask_outcomes.get_or_insert(again) <= now {
            calls.ask_again();
            self.ask_outcomes = Some(again);
        }
    }

    /// When a handshake begins beside a session that is silent.
    fn dial_at(&self) -> Option<Instant> {
        let link = self.link.as_ref().filter(|_| self.dial.is_none() && self.is_connected())?;
        let silent = self.silent_since? + (SILENCE * link.rto()).max(MIN_SILENCE);
        Some(self.dial_after.map_or(silent, |after| after.max(silent)))
    }

    fn is_connected(&self) -> bool {
        self.standing == Standing::Connected
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let connected = self.is_connected();
        let of_calls = {
            let mut calls = lock(&self.calls);
            // Without a session nobody can be asked, and the time would be due for ever.
            let asking = connected && calls.is_asking();
            let asked = asking.then(|| *self.ask_outcomes.get_or_insert(now));
            let told = calls.next_acknowledgement(now);
            [calls.next_deadline(), calls.next_resend(), told, asked].into_iter().flatten().min()
        };
        // A session that has ended only answers what comes.
        let link = self.link.as_ref().filter(|_| connected).and_then(Link::next_timeout);
        let dial = self.dial.as_ref().and_then(Dial::next_timeout);
        [of_calls, link, dial, self.ask_memory, self.dial_at()].into_iter().flatten().min()
    }

    /// The operating system refused a datagram as longer than the path carries.
    pub(crate) fn too_big(&mut self, size: usize, now: Instant) {
        if let Some(link) = &mut self.link {
            link.too_big(size, now);
        } else if let Some(dial) = &mut self.dial {
            let error = dial.too_big();
            self.dial_failed(error, now);
        }
    }

    /// The operating system says that nobody listens there. That is only believed while there is
    /// no session: nobody has proven it.
    pub(crate) fn refused(&mut self, now: Instant) {
        if self.link.is_none() {
            self.dial_failed(DialError::GaveUp { last: None }, now);
        }
    }

    /// Ends the session in good order.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(link) = &mut self.link {
            link.close(now);
        }
        self.fail(&Failure::silent(Disconnected::Closed));
    }

    /// Gives memory back after a while in which nothing came.
    fn rest(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if now.saturating_duration_since(link.last_received()) >= REST_AFTER {
            link.rest();
            self.scratch = Vec::new();
        }
    }
}
