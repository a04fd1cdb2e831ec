//! The handshake of a server's connection, and the look-up that ends it.

use std::{sync::Arc, task::Context, time::Instant};

use bailiwick_crypto::{PublicKey, record::Alert};

use super::{Connected, ServerDriver, Socket, UNKNOWN_PRINCIPAL};
use crate::{
    context::SessionInfo,
    metrics,
    net::{admission::Entered, revisions::Listening},
    observe::meters::{Carrier, OpenSession},
    proto::{server::Handshake, udp::refusals::reason},
};

impl<S: Socket> ServerDriver<S> {
    pub(super) fn handle_handshake(&mut self, cx: &mut Context<'_>, now: Instant) {
        let common = Arc::clone(&self.common);
        match self.core.handle_handshake(&common.handshake, &mut rand::rng(), now) {
            Handshake::Answering => self.answer(cx, now),
            Handshake::Authenticated(key) => self.look_up(key, now),
            Handshake::Failed(error) => self.refuse_handshake(reason(&error)),
            Handshake::Waiting | Handshake::Done => {}
        }
    }

    /// Sends RESP: where nobody else shakes hands, in two parts, so that the client works with the first while
    /// the other is made; and what can be done for the next handshake is done while the client is at work.
    /// Among many there is always other work, and writes count.
    fn answer(&mut self, cx: &mut Context<'_>, now: Instant) {
        let alone = self.entered.as_ref().is_none_or(Entered::is_alone);
        if alone {
            // What cannot be written now is written with the rest; an error comes again then.
            let _ = self.write(cx, now);
        }
        self.handle_handshake(cx, now);
        if alone && self.core.ended().is_none() {
            let _ = self.write(cx, now);
            self.common.handshake.prepare(&mut rand::rng());
        }
    }

    /// The one place where a key becomes a principal.
    fn look_up(&mut self, client: PublicKey, now: Instant) {
        let monitor = &self.common.router.monitor;
        // Before the look-up: a revision that comes meanwhile is looked at later.
        let revision = monitor.revision();
        let fingerprint = client.fingerprint().to_string();
        let Ok(caller) =
            monitor.admit(client.as_bytes(), &fingerprint, self.core.session_id(), &self.peer)
        else {
            metrics::handshakes_refused(UNKNOWN_PRINCIPAL, 1);
            return self.core.refuse(Alert::AccessDenied, now);
        };
        let Some(incarnation) = self.core.admit(now) else {
            return self.refuse_handshake("bad_parameters");
        };
        let common = &self.common;
        let Ok(memory) = common.memories.attach(client, incarnation, rand::random()) else {
            self.core.abort(Alert::LimitExceeded, now);
            return self.refuse_handshake("too_many_clients");
        };
        self.core.confirm(common.router.memory_id(&memory, common.tcp_port), now);
        if let Some(entered) = &mut self.entered {
            entered.established();
        }
        let principal = caller.principal().clone();
        let peer = self.peer.clone();
        let info = Arc::new(SessionInfo { principal, client, incarnation, peer });
        let listening = Listening::new(&common.revisions);
        let open = OpenSession::count(Carrier::Tcp);
        self.session = Some(Connected { info, caller, memory, revision, listening, _open: open });
    }

    pub(super) fn refuse_handshake(&self, reason: &'static str) {
        self.common.refused(&self.peer, reason, 1);
    }
}
