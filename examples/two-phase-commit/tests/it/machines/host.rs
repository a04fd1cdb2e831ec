//! A machine on its disk, which can be crashed between any two things that it does.

use stable_store::disk::{ForgetfulDisk, Stop};
use stable_store::{Opening, Options as StoreOptions, StoreId};
use two_phase_commit::machine::{Effect, Input, Machine, Output, Outputs, Time};
use two_phase_commit::node::{Node, Opened};
use two_phase_commit::txid::LogId;

use crate::machines::random::Random;

pub(crate) struct Host<M: Machine> {
    pub(crate) disk: ForgetfulDisk,
    pub(crate) node: Option<Node<M, ForgetfulDisk>>,
    make: Box<dyn Fn(LogId) -> M>,
    id: StoreId,
    /// When it comes back, while it is down.
    pub(crate) back_at: Option<Time>,
    pub(crate) crashes: u64,
}

/// Where a step is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nowhere,
    Before,
    /// In the append (0) or the sync (1) of what it keeps.
    InDisk(u64),
    /// The sync of what it keeps fails. The process ends; the system has the bytes in its memory.
    FailedSync,
    /// When so many effects are out.
    After(usize),
    /// In the n-th operation of a checkpoint that begins right after it, or nowhere if it has fewer.
    InCheckpoint(u64),
}

/// What a step did.
pub(crate) struct Stepped<M: Machine> {
    pub(crate) effects: Vec<Effect<M::Answer>>,
    pub(crate) crashed: bool,
    /// All that it persisted is on the disk, or was lazy.
    pub(crate) is_kept: bool,
}

impl<M: Machine + Clone> Host<M> {
    pub(crate) fn new(seed: u64, number: u8, make: impl Fn(LogId) -> M + 'static) -> Self {
        let mut id = [number; 16];
        id[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            disk: ForgetfulDisk::new(seed ^ u64::from(number) << 56),
            node: None,
            make: Box::new(make),
            id: StoreId(id),
            back_at: None,
            crashes: 0,
        }
    }

    /// Starts it. `stop` counts the disk's operations until it fails again. `None` if it did.
    pub(crate) fn start(&mut self, now: Time, stop: Option<u64>) -> Option<Vec<Effect<M::Answer>>> {
        if let Some(operations) = stop {
            self.disk.stop_at(self.disk.operations() + 1 + operations, Stop::PowerCut);
        }
        let options = StoreOptions { new_id: Some(self.id), ..StoreOptions::default() };
        let opened = Opening::new(self.disk.clone(), options).and_then(|opening| {
            let machine = (self.make)(opening.id().into());
            Node::open(opening, machine, now, &mut |_| {})
        });
        match opened {
            Ok(Opened { node, effects, .. }) => {
                self.node = Some(node);
                self.back_at = None;
                // It was not reached.
                self.disk.stop_at(u64::MAX, Stop::PowerCut);
                Some(effects)
            }
            Err(error) => {
                assert!(self.disk.stopped().is_some(), "{error:?}");
                None
            }
        }
    }

    /// What a step will do, without doing it.
    pub(crate) fn foresee(&self, input: Option<&Input<M::Request>>, now: Time) -> Outputs<M>
    where
        M::Request: Clone,
    {
        let mut out = Vec::new();
        if let Some(node) = &self.node {
            let mut machine = node.machine().clone();
            machine.handle_timeout(now, &mut out);
            if let Some(input) = input {
                machine.handle(input.clone(), now, &mut out);
            }
        }
        out
    }

    pub(crate) fn step(
        &mut self,
        input: Option<Input<M::Request>>,
        now: Time,
        cut: Cut,
    ) -> Stepped<M> {
        let crashed = |is_kept| Stepped { effects: Vec::new(), crashed: true, is_kept };
        let Some(node) = &mut self.node else { return crashed(false) };
        match cut {
            Cut::Before => return crashed(false),
            Cut::InDisk(operation) => {
                self.disk.stop_at(self.disk.operations() + 1 + operation, Stop::PowerCut);
            }
            Cut::FailedSync => self.disk.fail_sync(1),
            _ => {}
        }
        let stepped = node.step(input, now);
        // A step that kept nothing was not cut.
        self.disk.stop_at(u64::MAX, Stop::PowerCut);
        self.disk.fail_sync(u64::MAX);
        let Ok(mut effects) = stepped else {
            assert!(node.step(None, now).is_err(), "it goes on though its disk has failed");
            return crashed(false);
        };
        match cut {
            Cut::After(many) => {
                effects.truncate(many);
                Stepped { effects, crashed: true, is_kept: true }
            }
            Cut::InCheckpoint(operation) => {
                self.disk.stop_at(self.disk.operations() + 1 + operation, Stop::PowerCut);
                let crashed = node.checkpoint().is_err();
                self.disk.stop_at(u64::MAX, Stop::PowerCut);
                Stepped { effects, crashed, is_kept: true }
            }
            _ => Stepped { effects, crashed: false, is_kept: true },
        }
    }

    /// Ends the process, with the power or without, and says when the next one begins.
    pub(crate) fn crash(&mut self, random: &mut Random, back_at: Time) {
        let loses_power = random.below(4) > 0;
        self.kill(back_at);
        if loses_power {
            self.disk.power_cut();
        }
    }

    /// Ends the process alone.
    pub(crate) fn kill(&mut self, back_at: Time) {
        self.node = None;
        self.crashes += 1;
        self.back_at = Some(back_at);
        self.disk.kill();
    }
}

/// The records among outputs.
pub(crate) fn records<R, A>(out: &[Output<R, A>]) -> impl Iterator<Item = &R> {
    out.iter().filter_map(|output| match output {
        Output::Persist { record, .. } => Some(record),
        Output::Effect(_) => None,
    })
}
