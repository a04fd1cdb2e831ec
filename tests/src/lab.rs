//! The real client and server in the simulated world, and a ledger of what ran that believes neither.
//!
//! A [`Lab`] is a server and callers with plans; it goes on until each call has ended, and then
//! [`Lab::verify`] holds what callers were told against the ledger.

mod caller;
mod disk;
mod host;
mod ledger;
pub mod matrix;
mod node;
pub mod probe;
pub mod recorder;
mod verify;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailiwick::simulation::SimClient;
use bailiwick::testing::test_identity;
use bailiwick::{AuditLog, ChannelConfig, Limits, PolicyFile};

use crate::sim::{Elapsed, LinkConfig, NodeId, World};

pub use caller::{Caller, Ended, Kind, Plan};
pub use disk::{Crash, Disk};
pub use host::Host;
pub use ledger::Ledger;
pub use node::LabNode;
pub use verify::Tally;

/// A server at one address and its callers, each at one of their own.
pub struct Lab {
    /// The world that they are in.
    pub world: World<LabNode>,
    /// What ran, over all lives of the server.
    pub ledger: Ledger,
    /// What outlives the server.
    pub disk: Disk,
    /// What all lives of the server put on record.
    pub audit: AuditLog,
    server: NodeId,
    callers: Vec<NodeId>,
    limits: Limits,
}

/// Limits for a lab: a channel may retry as often as a bad link needs.
#[must_use]
pub fn lab_limits() -> Limits {
    Limits { retries_per_second: 2_000, ..Limits::default() }
}

/// Where the server is.
#[must_use]
pub fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 1], 7400))
}

impl Lab {
    /// A server that admits a principal for each plan, `c0`, `c1` and so on, and their callers, all
    /// with these limits. `seed` decides everything.
    #[must_use]
    pub fn new(seed: u64, limits: &Limits, plans: Vec<Plan>) -> Self {
        Self::with_limits(seed, limits, limits, plans)
    }

    /// The same, with limits for each side.
    #[must_use]
    pub fn with_limits(seed: u64, server: &Limits, clients: &Limits, plans: Vec<Plan>) -> Self {
        let mut world = World::seeded(seed);
        let (ledger, audit) = (Ledger::new(world.now()), AuditLog::memory());
        let policy = policy(plans.len(), &["use"]);
        let (seed, now) = (world.draw_seed(), world.now());
        let disk = Disk::new(now);
        let kept = (ledger.clone(), disk.clone());
        let host = Host::new(kept, audit.clone(), policy, server.clone(), seed, now);
        let server = world.add(server_address(), LabNode::Host(Box::new(host)));
        let (callers, limits) = (Vec::new(), clients.clone());
        let mut lab = Self { world, ledger, disk, audit, server, callers, limits };
        plans.into_iter().for_each(|plan| lab.add(plan));
        lab
    }

    fn add(&mut self, plan: Plan) {
        let index = self.callers.len();
        let client = self.fresh_client(index);
        let number = u16::try_from(index).expect("a lab has fewer callers");
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 2, high, low], 1000));
        let caller = LabNode::Caller(Box::new(Caller::new(number, client, plan)));
        self.callers.push(self.world.add(address, caller));
    }

    fn fresh_client(&mut self, index: usize) -> SimClient {
        let config = ChannelConfig { limits: self.limits.clone(), ..ChannelConfig::default() };
        let server = test_identity("server").public_key();
        let (seed, now) = (self.world.draw_seed(), self.world.now());
        let identity = test_identity(&name(index));
        SimClient::start(identity, server, server_address(), config, seed, now)
    }

    /// Places somebody who only keeps what comes; what they send, tests inject.
    pub fn add_mailbox(&mut self, address: SocketAddr) -> NodeId {
        self.world.add(address, LabNode::Mailbox(Vec::new()))
    }

    /// What has come to a mailbox since this was asked last.
    pub fn take_mail(&mut self, mailbox: NodeId) -> Vec<Vec<u8>> {
        match self.world.node_mut(mailbox) {
            LabNode::Mailbox(mail) => std::mem::take(mail),
            _ => Vec::new(),
        }
    }

    /// What happens to all datagrams from now on.
    pub fn set_links(&mut self, config: &LinkConfig) {
        self.world.set_all_links(config);
    }

    /// The server's node.
    #[must_use]
    pub fn server(&self) -> NodeId {
        self.server
    }

    /// The callers' nodes.
    #[must_use]
    pub fn callers(&self) -> &[NodeId] {
        &self.callers
    }

    /// A caller.
    #[must_use]
    pub fn caller(&self, index: usize) -> &Caller {
        self.world.node(self.callers[index]).caller()
    }

    /// A caller, to give it work.
    pub fn caller_mut(&mut self, index: usize) -> &mut Caller {
        self.world.node_mut(self.callers[index]).caller_mut()
    }

    /// The server's host.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.world.node(self.server).host()
    }

    /// The server's host, to do something to it.
    pub fn host_mut(&mut self) -> &mut Host {
        self.world.node_mut(self.server).host_mut()
    }

    /// SIGKILL: the server is gone, and nobody answers at its address.
    pub fn kill_server(&mut self) {
        self.crash_server(Crash::Kill);
    }

    /// The server is gone, and nobody answers at its address.
    pub fn crash_server(&mut self, crash: Crash) {
        self.host_mut().crash(crash);
    }

    /// Each boot reads the log for so long from now on.
    pub fn set_recovery(&mut self, time: Duration) {
        self.host_mut().set_recovery(time);
    }

    /// While no server is there: its log is lost, and what it counted is not.
    pub fn wipe_disk(&mut self) {
        self.disk.wipe();
    }

    /// Starts the server anew.
    pub fn start_server(&mut self) {
        let (seed, now) = (self.world.draw_seed(), self.world.now());
        self.host_mut().start(seed, now);
    }

    /// SIGKILL for a caller; it starts anew with the same identity and what its plan has left. What
    /// the life before had under way nobody is told about.
    pub fn restart_caller(&mut self, index: usize) {
        let client = self.fresh_client(index);
        self.caller_mut(index).restart(client);
    }

    /// Allows what was forbidden.
    pub fn allow_forbidden(&mut self) {
        let policy = policy(self.callers.len(), &["use", "forbid"]);
        self.host_mut().server().replace_policy(&policy);
    }

    /// Allows nothing any more.
    pub fn deny_all(&mut self) {
        let policy = policy(self.callers.len(), &[]);
        self.host_mut().server().replace_policy(&policy);
    }

    /// Goes on until all callers are done.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if one is not after `limit`.
    pub fn run(&mut self, limit: Duration) -> Result<(), Elapsed> {
        let callers = self.callers.clone();
        self.world.run_until(limit, |world| {
            callers.iter().all(|caller| world.node(*caller).caller().is_done())
        })
    }

    /// Goes on for a while, done or not.
    pub fn run_for(&mut self, time: Duration) {
        self.world.run_for(time);
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// How often the audit counts this event for this reason, summaries included.
    #[must_use]
    pub fn recorded(&self, event: &str, reason: &str) -> u64 {
        let field = |key: &str, value: &str| format!("\"{key}\":\"{value}\"");
        let (own, summed) = (field("event", event), field("detail", event));
        let reason = field("reason", reason);
        let of = |line: &&String| {
            line.contains(&reason) && (line.contains(&own) || line.contains(&summed))
        };
        self.audit.lines().iter().filter(of).map(|line| count(line)).sum()
    }
}

/// Of a record, how many events it stands for.
fn count(line: &str) -> u64 {
    let Some((_, rest)) = line.split_once("\"count\":") else { return 1 };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(1)
}

fn name(index: usize) -> String {
    format!("c{index}")
}

/// All callers may do this to the probe.
fn policy(callers: usize, verbs: &[&str]) -> PolicyFile {
    let mut text = String::new();
    for name in (0..callers).map(name) {
        text += &format!("principal {name} = {}\n", test_identity(&name).public_key());
    }
    for name in (0..callers).map(name) {
        for verb in verbs {
            text += &format!("{name} | probe | {verb} | allow\n");
        }
    }
    PolicyFile::from_text("policy.acl", text)
}
