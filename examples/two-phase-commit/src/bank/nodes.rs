//! The nodes under fire: each is killed when it is told to, and started again at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use miette::{Report, miette};
use rand::{Rng as _, RngExt as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

use crate::cluster::{Cluster, Process};

/// Longest time that a killed node stays away.
const MAX_ABSENCE: Duration = Duration::from_millis(100);

/// A node and the task that brings it back.
pub(super) struct Node {
    name: String,
    orders: mpsc::Sender<Order>,
    kills: Arc<AtomicU64>,
    task: JoinHandle<Result<(), Report>>,
}

enum Order {
    /// Kill it, stay away for so long, start it again.
    Kill(Duration),
    /// Let it be ready, and say so.
    Heal(oneshot::Sender<()>),
    /// Ask it to end.
    Stop,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(super) async fn start(
        cluster: &Cluster,
        name: &str,
        more: &[String],
    ) -> Result<Self, Report> {
        let mut process = cluster.start(name, more).map_err(Report::from_err)?;
        if let Err(report) = process.ready().await {
            let _ = process.kill().await;
            return Err(report);
        }
        let (orders, received) = mpsc::channel(1);
        let kills = Arc::default();
        let keeper = Keeper {
            cluster: cluster.clone(),
            name: name.to_owned(),
            more: more.to_vec(),
            kills: Arc::clone(&kills),
            ready: true,
        };
        let task = tokio::spawn(keeper.keep(process, received));
        Ok(Self { name: name.to_owned(), orders, kills, task })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has it killed, unless it is being killed already.
    pub(super) fn kill(&self, random: &mut StdRng) {
        // Half of the time it is back before anybody has noticed.
        let absence = match random.random::<bool>() {
            true => Duration::ZERO,
            false => MAX_ABSENCE.mul_f64(random.random::<f64>()),
        };
        let _ = self.orders.try_send(Order::Kill(absence));
    }

    /// How often it has been killed so far.
    pub(super) fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// Waits until it is up to stay; false if it never will be, and [`stop`](Self::stop) says why.
    pub(super) async fn is_healed(&self) -> bool {
        let (up, is_up) = oneshot::channel();
        let _ = self.orders.send(Order::Heal(up)).await;
        is_up.await.is_ok()
    }

    /// Ends it. Whatever becomes of that, its process is gone then.
    pub(super) async fn stop(self) -> Result<(), Report> {
        let _ = self.orders.send(Order::Stop).await;
        self.task.await.map_err(Report::from_err)?
    }
}

/// What a node's task has.
struct Keeper {
    cluster: Cluster,
    name: String,
    more: Vec<String>,
    kills: Arc<AtomicU64>,
    /// It has said that it is.
    ready: bool,
}

impl Keeper {
    /// Follows orders until the last, or until the node fails: then it is ended.
    async fn keep(
        mut self,
        mut process: Process,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), Report> {
        while let Some(order) = orders.recv().await {
            if let Some(status) = process.has_ended() {
                // A node has no reason to end by itself.
                let name = &self.name;
                return Err(miette!("{name} ended by itself with {status}; its log says why"));
            }
            let is_last = matches!(order, Order::Stop);
            let followed = self.follow(order, &mut process).await;
            if followed.is_err() {
                // It must let go of its books: they are evidence. What it fails at is told already.
                let _ = process.kill().await;
            }
            if followed.is_err() || is_last {
                return followed;
            }
        }
        process.kill().await
    }

    async fn follow(&mut self, order: Order, process: &mut Process) -> Result<(), Report> {
        match order {
            Order::Kill(absence) => {
                process.kill().await?;
                self.kills.fetch_add(1, Ordering::Relaxed);
                time::sleep(absence).await;
                *process = self.cluster.start(&self.name, &self.more).map_err(Report::from_err)?;
                // It may be killed again while it recovers.
                self.ready = false;
            }
            Order::Heal(up) => {
                if !self.ready {
                    process.ready().await?;
                    self.ready = true;
                }
                let _ = up.send(());
            }
            Order::Stop => process.stop().await?,
        }
        Ok(())
    }
}

/// Kills random nodes, a pause of `every` apart on the average, until it is dropped.
pub(super) async fn kill_at_random(nodes: &[Node], every: Duration, random: &mut StdRng) {
    if every.is_zero() || nodes.is_empty() {
        return std::future::pending().await;
    }
    loop {
        time::sleep(every.mul_f64(0.5 + random.random::<f64>())).await;
        // Now and then two go together.
        let victims = if random.next_u32().is_multiple_of(8) { 2 } else { 1 };
        for _ in 0..victims {
            nodes[random.random_range(0..nodes.len())].kill(random);
        }
    }
}
