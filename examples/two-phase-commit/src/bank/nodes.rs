//! The nodes under fire: each is killed when it is told to, and started again at once.

use std::time::Duration;

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
    task: JoinHandle<Result<u64, Report>>,
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
        process.ready().await?;
        let (orders, received) = mpsc::channel(1);
        let node = (cluster.clone(), name.to_owned(), more.to_vec());
        let task = tokio::spawn(keep(node, process, received));
        Ok(Self { name: name.to_owned(), orders, task })
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

    /// Waits until it is up to stay.
    pub(super) async fn healed(&self) -> Result<(), Report> {
        let (up, is_up) = oneshot::channel();
        let _ = self.orders.send(Order::Heal(up)).await;
        is_up.await.map_err(|_| miette!("{} is gone; its log says why", self.name))
    }

    /// Ends it; how often it was killed.
    pub(super) async fn stop(self) -> Result<u64, Report> {
        let _ = self.orders.send(Order::Stop).await;
        self.task.await.map_err(Report::from_err)?
    }
}

/// Follows orders until the last; how often it has killed.
async fn keep(
    (cluster, name, more): (Cluster, String, Vec<String>),
    mut process: Process,
    mut orders: mpsc::Receiver<Order>,
) -> Result<u64, Report> {
    let (mut kills, mut ready) = (0, true);
    while let Some(order) = orders.recv().await {
        if let Some(status) = process.has_ended() {
            // A node has no reason to end by itself.
            return Err(miette!("{name} ended by itself with {status}; its log says why"));
        }
        match order {
            Order::Kill(absence) => {
                process.kill().await?;
                kills += 1;
                time::sleep(absence).await;
                process = cluster.start(&name, &more).map_err(Report::from_err)?;
                // It may be killed again while it recovers.
                ready = false;
            }
            Order::Heal(up) => {
                if !ready {
                    process.ready().await?;
                    ready = true;
                }
                let _ = up.send(());
            }
            Order::Stop => {
                process.stop().await?;
                break;
            }
        }
    }
    Ok(kills)
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
