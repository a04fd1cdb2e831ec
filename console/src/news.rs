//! Word that something changed, from the threads that watch to the pages that show.

use tokio::sync::watch;

/// Tells all who wait that there is something new; clones tell the same ones.
#[derive(Clone, Debug)]
pub(crate) struct News(watch::Sender<u64>);

impl News {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
