//! A walk along a session: cut after every byte of it, from either side, and what is said of its
//! calls is true each time.

use std::{net::SocketAddr, time::Duration};

use bailiwick::{CallError, Executed, PublicKey, Reconnect};
use futures_util::future::join_all;
use tokio::time;

use crate::{
    probe::{Probe, ProbeClient},
    reconnect::{channel, eager, try_channel},
    relay::{Budget, Relay},
    world::{World, cx},
};

type Told = Result<u64, CallError<String>>;

/// A session of two calls, one after the other, cut where `budget` says. What the client is told
/// of each, unless it was cut in the first handshake.
async fn cut_session(
    server: SocketAddr,
    key: PublicKey,
    reconnect: Reconnect,
    budget: Budget,
    names: &[String; 2],
) -> Option<[Told; 2]> {
    let mut first = true;
    let relay =
        Relay::with(
            server,
            move || {
                if std::mem::take(&mut first) { budget } else { Budget::ENDLESS }
            },
        )
        .await;
    let channel = try_channel(&relay.endpoint, key, eager(), reconnect).await.ok()?;
    let alice = ProbeClient::new(channel.clone());
    let [first, second] = names.clone();
    let told = [alice.increment(&cx(), first).await, alice.increment(&cx(), second).await];
    drop(alice);
    channel.close().await;
    Some(told)
}

/// How many bytes a session of two calls has, from the client and from the server.
async fn length(world: &World) -> [usize; 2] {
    let relay = Relay::to(world.address).await;
    let channel = channel(&relay.endpoint, world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());
    for name in ["up-0000-1", "up-0000-2"] {
        alice.increment(&cx(), name.into()).await.unwrap();
    }
    drop(alice);
    channel.close().await;
    time::sleep(Duration::from_millis(50)).await;
    world.state.increments.lock().unwrap().clear();
    relay.carried()
}

/// Cuts after each byte of a session, from either side; gives what the client was told of each
/// call, and how often its handler ran.
async fn walk(world: &World, reconnect: Reconnect) -> Vec<(String, Option<Told>, u64)> {
    let [up, down] = length(world).await;
    assert!(up > 250 && down > 100, "{up} and {down} bytes");
    let mut budgets: Vec<_> =
        (0..=up).map(|k| ("up", k, Budget { up: k, ..Budget::ENDLESS })).collect();
    budgets.extend((0..=down).map(|k| ("down", k, Budget { down: k, ..Budget::ENDLESS })));
    let (address, key) = (world.address, world.server);
    let mut walked = Vec::new();
    // Fewer handshakes at once than one address may begin.
    for some in budgets.chunks(8) {
        let sessions = some.iter().map(async |(way, k, budget)| {
            let names = [1, 2].map(|call| format!("{way}-{k:04}-{call}"));
            let told = cut_session(address, key, reconnect, *budget, &names).await;
            let told = told.map_or([None, None], |told| told.map(Some));
            names.into_iter().zip(told)
        });
        walked.extend(join_all(sessions).await.into_iter().flatten());
    }
    // Whatever is under way arrives.
    time::sleep(Duration::from_millis(200)).await;
    let ran = |(name, told): (String, _)| {
        let ran = world.state.increments(&name);
        (name, told, ran)
    };
    walked.into_iter().map(ran).collect()
}

#[tokio::test]
async fn wherever_a_session_is_cut_what_is_said_of_its_call_is_true() {
    let world = World::start().await;
    let (mut yes, mut no, mut unknown, mut none) = (0, 0, [0, 0], 0);
    for (name, outcome, ran) in walk(&world, Reconnect::Never).await {
        let executed = match outcome {
            None => {
                none += 1;
                assert_eq!(ran, 0, "{name}: there was no channel");
                continue;
            }
            Some(Ok(_)) => Executed::Yes,
            Some(Err(error)) => error.executed(),
        };
        match executed {
            Executed::Yes => {
                yes += 1;
                assert_eq!(ran, 1, "{name}");
            }
            Executed::No => {
                no += 1;
                assert_eq!(ran, 0, "{name}");
            }
            Executed::Unknown => {
                assert!(ran <= 1, "{name}");
                unknown[usize::try_from(ran).unwrap()] += 1;
            }
        }
    }
    println!(
        "yes {yes}, no {no}, unknown: not run {}, run {}; no channel {none}",
        unknown[0], unknown[1]
    );
    assert!(yes > 0 && none > 0, "the walk goes from the first byte to the last");
    assert!(no > 0, "what is called after the cut is not sent");
    assert!(unknown[0] > 0 && unknown[1] > 0, "unknown is said of calls that ran and that did not");
}

#[tokio::test]
async fn wherever_a_session_is_cut_its_call_is_answered_over_the_next_and_ran_once() {
    let world = World::start().await;
    let mut answered = 0;
    for (name, outcome, ran) in walk(&world, Reconnect::Always).await {
        match outcome {
            None => assert_eq!(ran, 0, "{name}: there was no channel"),
            Some(outcome) => {
                assert!(outcome.is_ok(), "{name}: {outcome:?}");
                assert_eq!(ran, 1, "{name}");
                answered += 1;
            }
        }
    }
    assert!(answered > 100, "{answered}");
}
