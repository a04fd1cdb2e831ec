//! What a durable server has on disk: that a call ran, in the same record as its effect.

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    /// Names it; a server that finds an empty disk begins another.
    pub(super) store: u8,
    /// By client and call.
    records: Vec<Vec<Record>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    None,
    /// The process is not needed any more to keep it, but the machine is.
    Written,
    Synced,
}

/// How a server's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The process alone.
    Kill,
    /// The machine: what was not synced is gone.
    PowerCut,
    /// The next life finds the state, and no log.
    Wipe,
}

impl Log {
    pub(super) fn new(clients: usize, calls: usize) -> Self {
        Self { store: 0, records: vec![vec![Record::None; calls]; clients] }
    }

    pub(super) fn has(&self, client: usize, call: usize) -> bool {
        self.records[client][call] != Record::None
    }

    pub(super) fn is_synced(&self, client: usize, call: usize) -> bool {
        self.records[client][call] == Record::Synced
    }

    pub(super) fn write(&mut self, client: usize, call: usize) {
        self.records[client][call] = Record::Written;
    }

    pub(super) fn needs_sync(&self) -> bool {
        self.records.iter().flatten().any(|record| *record == Record::Written)
    }

    pub(super) fn sync(&mut self) {
        self.records.iter_mut().flatten().filter(|record| **record == Record::Written).for_each(
            |record| {
                *record = Record::Synced;
            },
        );
    }

    /// The calls whose records are lost, and with them their effects.
    pub(super) fn cut_power(&mut self) -> Vec<(usize, usize)> {
        let mut lost = Vec::new();
        for (client, records) in self.records.iter_mut().enumerate() {
            for (call, record) in records.iter_mut().enumerate() {
                if *record == Record::Written {
                    *record = Record::None;
                    lost.push((client, call));
                }
            }
        }
        lost
    }

    pub(super) fn wipe(&mut self) {
        self.store += 1;
        self.drop_all();
    }

    pub(super) fn drop_all(&mut self) {
        self.records.iter_mut().for_each(|records| records.fill(Record::None));
    }

    /// The client has the answers to all calls below.
    pub(super) fn acknowledge(&mut self, client: usize, floor: usize) {
        self.records[client][..floor].fill(Record::None);
    }

    pub(super) fn has_any(&self, client: usize) -> bool {
        self.records[client].iter().any(|record| *record != Record::None)
    }

    pub(super) fn forget(&mut self, client: usize) {
        self.records[client].fill(Record::None);
    }
}
