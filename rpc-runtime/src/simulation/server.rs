//! A server's UDP port without its task: datagrams and times in and out.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant, SystemTime},
};

use bailiwick_crypto::Params;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::transmits::{SEGMENTS, Transmits};
use crate::{
    id::Incarnation,
    net::{dialer::params, server_driver::Common, udp_server::UdpServer},
    overload::Now,
    policy_file::PolicyFile,
    proto::udp::endpoint::Time,
    server::{ServeError, ServerBuilder},
};

/// How often leases are looked at, and refusals put on record.
const TICK: Duration = Duration::from_secs(1);
const RECORD: Duration = Duration::from_millis(100);

/// Wakes of handlers by handlers in a row.
const TURNS: usize = 1000;

/// One life of a server's process, with one UDP port and no TCP. Dropping it is SIGKILL.
pub struct SimServer {
    common: Arc<Common>,
    core: UdpServer,
    rng: StdRng,
    clock: Arc<Clock>,
    woken: Arc<Woken>,
    tick_at: Instant,
    record_at: Instant,
    transmits: Transmits,
    due: Option<Instant>,
}

/// What a server holds because of its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections, established and half open.
    pub connections: usize,
    /// Clients that are remembered.
    pub clients: usize,
    /// Bytes that answers cost, and that calls at work have set aside, at the client with most.
    pub kept_by_one: usize,
    /// The same of all clients.
    pub kept: usize,
    /// Bytes of messages that are being put together.
    pub reassembly: usize,
    /// Handlers at work.
    pub handlers: usize,
    /// Calls that wait until one at work ends.
    pub waiting: usize,
}

/// The calendar's time goes with the virtual clock.
struct Clock {
    started: Instant,
    now: Mutex<Instant>,
}

impl Clock {
    fn set(&self, now: Instant) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn now(&self) -> Instant {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calendar(&self) -> SystemTime {
        let since = self.now().saturating_duration_since(self.started);
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + since
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl SimServer {
    /// A life of the server that `builder` describes; its endpoints are not looked at. `seed`
    /// decides its chances. `epoch` is where the calendar begins: the same for all lives.
    ///
    /// # Errors
    ///
    /// [`ServeError`], as for a server with sockets.
    pub fn start(
        builder: ServerBuilder,
        seed: u64,
        epoch: Instant,
        now: Instant,
    ) -> Result<Self, ServeError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = Arc::new(Clock { started: epoch, now: Mutex::new(now) });
        let calendar = Arc::clone(&clock);
        let (mut common, _warnings) = builder.into_common(0, move || calendar.calendar())?;
        let time = Arc::clone(&clock);
        common.router.keep_time(&(Arc::new(move || time.now()) as Now));
        common.handshake.params = seeded_params(&common, &mut rng);
        let common = Arc::new(common);
        let core = UdpServer::new(Arc::clone(&common), unix_seconds(&clock), &mut rng);
        Ok(Self {
            common,
            core,
            rng,
            clock,
            woken: Arc::default(),
            tick_at: now + TICK,
            record_at: now + RECORD,
            transmits: Transmits::default(),
            due: None,
        })
    }

    /// Puts another policy in force, for the next request of every session.
    ///
    /// # Panics
    ///
    /// If it has errors.
    pub fn replace_policy(&self, policy: &PolicyFile) {
        let loaded = policy.load(&[]).expect("the test's policy has no errors");
        self.common.router.monitor.replace(loaded.policy).expect("its serial does not fall");
    }

    /// What the server holds because of its peers.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (clients, kept, kept_by_one) = self.common.memories.usage();
        let (connections, reassembly, handlers) = self.core.usage();
        Usage {
            connections,
            clients,
            kept_by_one,
            kept,
            reassembly,
            handlers,
            waiting: self.common.router.waiting(),
        }
    }

    /// Begins to shut down.
    pub fn drain(&mut self, now: Instant) {
        self.core.drain(now);
    }

    /// Takes one datagram, which is changed.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.clock.set(now);
        let time = Time { now, arrived: now, unix_seconds: unix_seconds(&self.clock) };
        self.core.handle_datagram(datagram, from, time, &mut self.rng);
        // Whatever handler it brought is polled for the first time.
        self.woken.0.store(true, Ordering::Release);
    }

    /// The next datagram to send, until there is none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.clock.set(now);
        self.core.handle_revision(now);
        self.run_handlers(now);
        let core = &mut self.core;
        let next = self.transmits.next(|batch| core.poll_transmit(now, batch, SEGMENTS));
        if next.is_none() {
            let due = [self.core.next_timeout(now), Some(self.tick_at)].into_iter().flatten();
            self.due = due.min();
        }
        next
    }

    fn run_handlers(&mut self, now: Instant) {
        let waker = Waker::from(Arc::clone(&self.woken));
        for _ in 0..TURNS {
            if !self.woken.0.swap(false, Ordering::AcqRel) {
                return;
            }
            self.core.run_handlers(&mut Context::from_waker(&waker), now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock.set(now);
        self.core.handle_timeout(now);
        if self.record_at <= now {
            self.core.record_refusals();
            self.record_at = now + RECORD;
        }
        if self.tick_at <= now {
            self.common.router.monitor.tick();
            self.common.expire(now);
            self.tick_at = now + TICK;
        }
    }

    /// The first hop does not take datagrams of this length.
    pub fn handle_too_big(&mut self, length: usize, now: Instant) {
        self.core.too_big(length, now);
    }
}

fn unix_seconds(clock: &Clock) -> u64 {
    clock.calendar().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The parameters, of an incarnation that the seed decides.
fn seeded_params(common: &Common, rng: &mut StdRng) -> Params {
    let mut incarnation = [0; 16];
    rng.fill_bytes(&mut incarnation);
    params(&common.router.limits, Incarnation::from_bytes(incarnation))
}

impl std::fmt::Debug for SimServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimServer").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
