//! The memories that a server has of its clients: one for each life of a client's process, shared
//! by its connections, and kept for a lease after the last of them.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick_crypto::PublicKey;

use super::{
    completions::{Books, Life},
    duplicate_requests::{Memory, Via},
};
use crate::{config::Limits, id::Incarnation};

/// One key may have no more than this part of the places, so that it cannot turn others away.
const KEY_PARTS: usize = 2;

/// What a server remembers of one life of a client's process.
pub(crate) struct ClientMemory {
    /// Random: should it be another the next time, then all was forgotten in between.
    id: [u8; 8],
    memory: Mutex<Memory>,
    connections: AtomicUsize,
    /// How many connections there were in all.
    numbered: AtomicU64,
}

/// The table of all memories.
pub(crate) struct Memories {
    table: Mutex<Table>,
    limits: Limits,
}

/// Std's hash is keyed, and peers choose their incarnations.
#[derive(Default)]
struct Table {
    clients: HashMap<PublicKey, HashMap<Incarnation, Place>>,
    places: usize,
}

struct Place {
    memory: Arc<ClientMemory>,
    /// Since when it has had neither a connection nor a call at work.
    left: Option<Instant>,
}

/// There are as many clients as a server remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyClients;

impl Memories {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { table: Mutex::default(), limits: limits.clone() }
    }

    /// The memory of this client, for as long as a connection of it lasts; one named `fresh`, which
    /// is random, if there is none yet.
    pub(crate) fn attach(
        &self,
        client: PublicKey,
        incarnation: Incarnation,
        fresh: [u8; 8],
    ) -> Result<Attached, TooManyClients> {
        let mut table = lock(&self.table);
        let Table { clients, places } = &mut *table;
        let lives = clients.get(&client).map_or(0, HashMap::len);
        let known = clients.get(&client).is_some_and(|lives| lives.contains_key(&incarnation));
        let most = self.limits.max_clients;
        if !known && (*places >= most || lives >= most.div_ceil(KEY_PARTS)) {
            return Err(TooManyClients);
        }
        let place = clients.entry(client).or_default().entry(incarnation).or_insert_with(|| {
            *places += 1;
            Place { memory: Arc::new(ClientMemory::new(fresh, &self.limits)), left: None }
        });
        place.left = None;
        Ok(Attached::new(&place.memory))
    }

    /// Forgets the clients whose lease is over, with what `books` have of them, and gives back what
    /// the others do not need. To be called about once a second.
    pub(crate) fn expire(&self, books: &Books, now: Instant) {
        let mut table = lock(&self.table);
        let (lease, mut over) = (self.limits.lease, Vec::new());
        table.clients.retain(|client, lives| {
            lives.retain(|incarnation, place| {
                let is_over = place.is_over(lease, now);
                if is_over {
                    over.push(Life::new(client, incarnation));
                }
                !is_over
            });
            !lives.is_empty()
        });
        table.places = table.clients.values().map(HashMap::len).sum();
        let clients = table.clients.iter();
        let lives =
            clients.flat_map(|(client, lives)| lives.keys().map(|it| Life::new(client, it)));
        let remembered: HashSet<Life> =
            if books.is_empty() { HashSet::new() } else { lives.collect() };
        books.expire(&over, lease, now, |life| remembered.contains(life));
    }

    /// How many clients there are, what all of them have kept, in bytes, and the one with most.
    #[cfg(feature = "simulation")]
    pub(crate) fn usage(&self) -> (usize, usize, usize) {
        let table = lock(&self.table);
        let places = table.clients.values().flat_map(HashMap::values);
        let used: Vec<_> = places.map(|place| place.memory.lock().used()).collect();
        (table.places, used.iter().sum(), used.iter().copied().max().unwrap_or_default())
    }
}

impl Place {
    fn is_over(&mut self, lease: Duration, now: Instant) -> bool {
        let mut memory = self.memory.lock();
        memory.rest();
        if self.memory.connections.load(Ordering::Acquire) > 0 || !memory.is_idle() {
            self.left = None;
            return false;
        }
        let left = *self.left.get_or_insert(now);
        now.saturating_duration_since(left) >= lease
    }
}

impl ClientMemory {
    fn new(id: [u8; 8], limits: &Limits) -> Self {
        Self {
            id,
            memory: Mutex::new(Memory::new(limits)),
            connections: AtomicUsize::new(0),
            numbered: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

/// A connection's share in its client's memory.
pub(crate) struct Attached {
    memory: Arc<ClientMemory>,
    /// Was shared with a call that has ended, and goes to the next one, so that calls that are answered at once count
    /// nothing up or down.
    spare: Cell<Option<Arc<ClientMemory>>>,
    via: Via,
}

impl Attached {
    fn new(memory: &Arc<ClientMemory>) -> Self {
        memory.connections.fetch_add(1, Ordering::AcqRel);
        let via = Via(memory.numbered.fetch_add(1, Ordering::Relaxed));
        Self { memory: Arc::clone(memory), spare: Cell::default(), via }
    }

    pub(crate) fn id(&self) -> [u8; 8] {
        self.memory.id
    }

    pub(crate) fn via(&self) -> Via {
        self.via
    }

    pub(crate) fn memory(&self) -> &Arc<ClientMemory> {
        &self.memory
    }

    /// The memory for a call that may outlive the connection.
    pub(super) fn share(&self) -> Arc<ClientMemory> {
        self.spare.take().unwrap_or_else(|| Arc::clone(&self.memory))
    }

    /// A call has ended here that had this.
    pub(super) fn take_back(&self, memory: Arc<ClientMemory>) {
        if Arc::ptr_eq(&memory, &self.memory) {
            self.spare.set(Some(memory));
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.memory.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ClientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMemory").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "memories_tests.rs"]
mod tests;
