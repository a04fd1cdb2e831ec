//! What a server answers to a call that it has seen before.

use std::{sync::Arc, task::Poll, time::Instant};

use crate::{
    proto::{
        duplicate_requests::{Answered, Standing, Via, Watch},
        frame,
        frames::Frames,
        memories::ClientMemory,
    },
    reply::{self, ReplyHeader},
};

/// Writes what has become of a call, and says where its answer comes if that is not there yet.
pub(crate) fn write_standing(
    header: ReplyHeader,
    memory: &ClientMemory,
    via: Via,
    now: Instant,
    out: &mut Frames,
) -> Answered {
    let out = out.tail();
    match memory.lock().look_at(header.call, via, now) {
        Standing::Kept(answer) => reply::write_kept(header, answer, out),
        Standing::Short(answer) => reply::write_short(header, answer, out),
        Standing::Lost => reply::write_short(header, reply::LOST, out),
        Standing::Stale => reply::write_short(header, reply::IS_STALE, out),
        Standing::AtWork { estimate, answered } => {
            frame::put_working(header.call, header.attempt, estimate, out);
            return answered;
        }
    }
    Answered::Here
}

/// The reply's frame, once the handler that another connection brought is done; nothing if the
/// client has asked over a third one since.
pub(crate) async fn watch(
    header: ReplyHeader,
    memory: Arc<ClientMemory>,
    via: Via,
    now: Instant,
) -> Frames {
    let watched =
        std::future::poll_fn(|cx| match memory.lock().watch(header.call, via, cx.waker()) {
            Watch::Waiting => Poll::Pending,
            over => Poll::Ready(over),
        });
    let mut frame = Frames::default();
    if watched.await == Watch::Over {
        write_standing(header, &memory, via, now, &mut frame);
    }
    frame
}
