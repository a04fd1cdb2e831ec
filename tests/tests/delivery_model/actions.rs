//! What can happen next, and what it does.

use super::client::{Call, End};
use super::log::{Crash, Log};
use super::network::{Body, Message};
use super::server::{Effect, Entry, Verdict};
use super::{Bug, Delivery, Truth, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The client opens a session and lets go of the one before; the server may not notice.
    Connect {
        client: usize,
    },
    /// The client sends a call, once more perhaps.
    Send {
        client: usize,
        call: usize,
    },
    /// A call that was sent passes its deadline.
    Deadline {
        client: usize,
        call: usize,
    },
    Inquire {
        client: usize,
        call: usize,
    },
    /// The client does not want to know any more.
    GiveUp {
        client: usize,
        call: usize,
    },
    Acknowledge {
        client: usize,
    },
    Deliver {
        message: Message,
        verdict: Verdict,
    },
    /// A handler comes to its end.
    Finish {
        client: usize,
        call: usize,
    },
    /// The server loses sight of a session.
    Close {
        client: usize,
        session: u8,
    },
    ExpireLease {
        client: usize,
    },
    Restart(Crash),
    /// A durable server has read its log.
    Recover,
    /// What a durable server has written is on disk.
    Sync,
}

pub(super) fn possible(model: &Delivery, world: &World, actions: &mut Vec<Action>) {
    for (client, own) in world.clients.iter().enumerate() {
        if own.session < model.bounds.sessions {
            actions.push(Action::Connect { client });
        }
        for (call, state) in own.calls.iter().enumerate() {
            match state {
                Call::Waiting { attempts } => {
                    if own.may_send() && *attempts < model.bounds.attempts {
                        actions.push(Action::Send { client, call });
                    }
                    if *attempts > 0 {
                        actions.push(Action::Deadline { client, call });
                    }
                }
                Call::Ended(End::Late) => {
                    actions.push(Action::GiveUp { client, call });
                    if own.may_send() {
                        actions.push(Action::Inquire { client, call });
                    }
                }
                Call::Ended(_) => {}
            }
        }
        if own.may_send() && own.floor() > 0 {
            actions.push(Action::Acknowledge { client });
        }
    }
    for message in world.network.messages() {
        actions.push(Action::Deliver { message, verdict: Verdict::Allow });
        if matches!(message.body, Body::Request { .. }) {
            actions.push(Action::Deliver { message, verdict: Verdict::Refuse });
        }
    }
    for (client, admitted) in world.server.clients.iter().enumerate() {
        if let Some(memory) = &admitted.memory {
            for call in 0..model.bounds.calls {
                if matches!(memory.entry(call), Entry::AtWork { .. })
                    && world.server.may_finish(client, call, model.bug)
                {
                    actions.push(Action::Finish { client, call });
                }
            }
        }
        for &session in &admitted.sessions {
            actions.push(Action::Close { client, session });
        }
        if world.server.is_leased(client) {
            actions.push(Action::ExpireLease { client });
        }
    }
    if world.server.restarts < model.bounds.restarts {
        actions.push(Action::Restart(Crash::Kill));
        if world.server.log.is_some() {
            actions.extend([Crash::PowerCut, Crash::Wipe].map(Action::Restart));
        }
    }
    if world.server.is_recovering {
        actions.push(Action::Recover);
    } else if world.server.log.as_ref().is_some_and(Log::needs_sync) {
        actions.push(Action::Sync);
    }
}

pub(super) fn perform(model: &Delivery, world: &mut World, action: Action) {
    match action {
        Action::Connect { client } => {
            let own = &mut world.clients[client];
            own.connect(model.bug);
            let memory = world.server.admit(client, own.session, model.bounds.calls);
            world.network.send(client, own.session, memory);
        }
        Action::Send { client, call } => {
            let own = &mut world.clients[client];
            let attempt = own.send(call);
            let body = Body::Request { call, attempt };
            world.network.send(client, own.session, body);
        }
        Action::Deadline { client, call } => {
            world.clients[client].calls[call] = Call::Ended(End::Late);
        }
        Action::Inquire { client, call } => {
            let session = world.clients[client].session;
            world.network.send(client, session, Body::Inquire { call });
        }
        Action::GiveUp { client, call } => {
            world.clients[client].calls[call] = Call::Ended(End::NeverKnown);
        }
        Action::Acknowledge { client } => {
            let own = &world.clients[client];
            let floor = own.floor();
            world.network.send(client, own.session, Body::Acknowledge { floor });
        }
        Action::Deliver { message, .. } if !message.body.is_for_the_server() => {
            world.clients[message.client].handle(message.body, model.bug);
        }
        Action::Deliver { message, verdict } => deliver(model, world, message, verdict),
        Action::Finish { client, call } => finish(model, world, client, call),
        Action::Close { client, session } => {
            world.server.clients[client].sessions.retain(|open| *open != session);
        }
        Action::ExpireLease { client } => {
            world.server.expire(client);
            // A server waits longer than a client counts on it.
            let own = &mut world.clients[client];
            own.lapsed = Some(own.session);
            world.has_excuse = true;
        }
        Action::Restart(crash) => {
            world.has_excuse |= crash == Crash::Wipe || world.server.log.is_none();
            for (client, call) in world.server.restart(crash, model.bug) {
                let Truth { begun, undone, .. } = &mut world.truth[client][call];
                (*begun, *undone) = (*begun - 1, true);
            }
        }
        Action::Recover => world.server.recover(model.bug),
        Action::Sync => world.server.log.iter_mut().for_each(Log::sync),
    }
    forget_dead_messages(world);
}

fn deliver(model: &Delivery, world: &mut World, message: Message, verdict: Verdict) {
    let Message { client, session, body } = message;
    let whose = if model.bug == Bug::KeyWithoutClient { 0 } else { client };
    match world.server.handle(whose, session, body, verdict, model.bug) {
        Effect::Begin { call, attempt } => {
            let truth = &mut world.truth[client][call];
            truth.begun += 1;
            truth.begun_by.get_or_insert(attempt);
        }
        Effect::Send(reply) => world.network.send(client, session, reply),
        Effect::Nothing => {}
    }
}

fn finish(model: &Delivery, world: &mut World, client: usize, call: usize) {
    let Some(memory) = &mut world.server.clients[client].memory else { return };
    if let Some((session, reply)) = memory.finish(call, model.bug) {
        world.truth[client][call].finished = true;
        world.network.send(client, session, reply);
    }
}

/// Keeps what an end still opens, because its session is open there, and has a use for.
fn forget_dead_messages(world: &mut World) {
    let World { server, clients, network, .. } = world;
    network.retain(|&Message { client, session, body }| match body {
        Body::Request { .. } | Body::Inquire { .. } => server.clients[client].has_open(session),
        Body::Acknowledge { floor } => {
            server.clients[client].has_open(session) && server.clients[client].awaits_floor(floor)
        }
        _ => clients[client].session == session && clients[client].awaits(body),
    });
}
