//! The calling side of the floor: callers share one outgoing buffer and wait in numbered slots.

use std::{
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task,
};

use super::{
    Floor, Flush, next_frame, put_frame,
    sealed::{Incoming, Outgoing, Side},
};
use crate::{
    peer::{Caller, PeerError},
    peers::slots::Slots,
};

/// A connection that any number of callers share. It closes when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    /// Dropped with the last caller, never by the reader and writer tasks.
    _closes: Arc<CloseOnDrop>,
}

impl Connection {
    /// Starts the tasks that read and write `stream`.
    pub(super) fn start(stream: TcpStream, floor: Floor) -> Self {
        let (read_half, write_half) = stream.into_split();
        let shared = Arc::new(Shared::default());
        tokio::spawn(read(read_half, Arc::clone(&shared), floor));
        tokio::spawn(write(write_half, Arc::clone(&shared), floor));
        let closes = Arc::new(CloseOnDrop(Arc::clone(&shared)));
        Self { shared, _closes: closes }
    }
}

impl Caller for Connection {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        let slot = self.shared.send(payload)?;
        poll_fn(|cx| self.shared.poll_reply(slot, cx)).await
    }
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    outgoing: BytesMut,
    slots: Slots,
    writer: Option<Waker>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, payload: &[u8]) -> Result<usize, PeerError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PeerError::Closed);
        }
        let slot = state.slots.take();
        put_frame(&mut state.outgoing, slot as u64, payload);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(slot)
    }

    fn poll_reply(&self, slot: usize, cx: &mut Context<'_>) -> Poll<Result<Bytes, PeerError>> {
        let mut state = self.lock();
        match state.slots.poll(slot, cx) {
            Poll::Ready(reply) => Poll::Ready(Ok(reply)),
            Poll::Pending if state.closed => Poll::Ready(Err(PeerError::Closed)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Moves waiting frames into `batch`; `None` when the connection is closed.
    fn poll_batch(&self, batch: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        if state.outgoing.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut state.outgoing, batch);
        Poll::Ready(Some(()))
    }

    fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.closed || !state.outgoing.is_empty() {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Hands out every whole reply in `incoming` under one lock, then wakes their callers.
    fn complete_all(
        &self,
        incoming: &mut BytesMut,
        woken: &mut Vec<Waker>,
    ) -> Result<(), PeerError> {
        let mut state = self.lock();
        let mut passed = 0;
        while let Some(frame) = next_frame(&incoming[passed..])? {
            woken.extend(state.slots.answer(frame.id, frame.payload)?);
            passed += frame.len();
        }
        incoming.advance(passed);
        drop(state);
        woken.drain(..).for_each(Waker::wake);
        Ok(())
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let mut wakers: Vec<Waker> = state.writer.take().into_iter().collect();
        wakers.extend(state.slots.take_wakers());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn write(mut half: OwnedWriteHalf, shared: Arc<Shared>, floor: Floor) {
    let mut batch = Outgoing::of(Side::Client, floor.is_sealed);
    loop {
        if floor.flush == Flush::AfterYield {
            poll_fn(|cx| shared.poll_wanted(cx)).await;
            task::yield_now().await;
        }
        if poll_fn(|cx| shared.poll_batch(&mut batch.frames, cx)).await.is_none() {
            return;
        }
        if half.write_all(batch.bytes()).await.is_err() {
            return shared.close();
        }
        batch.clear();
    }
}

async fn read(mut half: OwnedReadHalf, shared: Arc<Shared>, floor: Floor) {
    if let Err(error) = read_replies(&mut half, &shared, floor).await {
        eprintln!("floor: the connection ended: {error}");
    }
    shared.close();
}

async fn read_replies(
    half: &mut OwnedReadHalf,
    shared: &Shared,
    floor: Floor,
) -> Result<(), PeerError> {
    let mut incoming = Incoming::from(Side::Server, floor.is_sealed);
    let mut woken = Vec::new();
    loop {
        if half.read_buf(incoming.room()).await? == 0 {
            return Ok(());
        }
        incoming.open()?;
        shared.complete_all(&mut incoming.frames, &mut woken)?;
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
