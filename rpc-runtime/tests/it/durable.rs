//! A call that comes again after a crash: a durable service answers it and does not run it again, and
//! says nothing before it knows.

use std::{sync::atomic::AtomicUsize, time::Duration};

use bailiwick::{
    CallError, Context, Limits, Server, Unavailable,
    durable::{Completions, Durable},
    rpc_service,
    testing::test_identity,
};
use tokio::time;

use crate::{
    counter::{Counter as _, CounterClient, CounterServer, Forgetful, Life, Log, method, proxy},
    raw::{Raw, Seen, frame, request_of, request_within},
    reconnect::eager,
    world::{Dead, World, cx, eventually},
};

/// Status 8, detail 3: it is still recovering.
const RECOVERING: [u8; 2] = [8, 3];

async fn alice(world: &World) -> Raw {
    Raw::life(world, test_identity("alice"), 1).await
}

fn add(call: u64, attempt: u64, by: u8) -> Vec<u8> {
    add_above(0, call, attempt, by)
}

fn add_above(floor: u64, call: u64, attempt: u64, by: u8) -> Vec<u8> {
    request_of(call, floor, attempt, method("add"), &[by])
}

fn value(call: u64) -> Vec<u8> {
    request_of(call, 0, 0, method("value"), &[])
}

fn inquire(call: u8) -> Vec<u8> {
    frame(&[12, call])
}

/// The status and body of the reply to a call below 128.
async fn answer(client: &mut Raw, call: u8) -> Vec<u8> {
    let reply = client.frame().await;
    assert_eq!(reply[..2], [2, call], "{reply:?}");
    reply[3..].to_vec()
}

async fn ask(client: &mut Raw, call: u8, request: &[u8]) -> Vec<u8> {
    client.send(request).await;
    answer(client, call).await
}

/// A log with one call in it, number 0, which added 5, and whose answer was lost in a crash.
async fn crashed() -> Log {
    let log = Log::default();
    let world = World::counting(Life::recovered(&log).builder()).await;
    let mut first = alice(&world).await;
    first.send(&add(0, 0, 5)).await;
    eventually("it ran", || log.lock().unwrap().len() == 1).await;
    world.kill().await;
    log
}

#[tokio::test]
async fn an_answer_lost_in_a_crash_is_found_and_its_call_does_not_run_again() {
    let log = crashed().await;
    for boots in 1..3 {
        let life = Life::recovered(&log);
        let world = World::counting(life.builder()).await;
        let mut client = alice(&world).await;
        assert_eq!(ask(&mut client, 0, &add(0, boots, 5)).await, [0, 5]);
        assert_eq!(ask(&mut client, 0, &add(0, boots, 5)).await, [0, 5], "and it is kept");
        assert_eq!((life.begun(), log.lock().unwrap().len()), (0, 1), "boot {boots}");
        assert_eq!(ask(&mut client, 1, &value(1)).await, [0, 5]);
        world.kill().await;
    }
}

#[tokio::test]
async fn a_call_that_the_log_does_not_have_has_not_run_and_runs() {
    let log = crashed().await;
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 1, &add(1, 1, 2)).await, [0, 7]);
    assert_eq!((life.begun(), log.lock().unwrap().len()), (1, 2));
    // Another life's call of this number is another call.
    let mut other = Raw::life(&world, test_identity("alice"), 2).await;
    assert_eq!(ask(&mut other, 0, &add(0, 0, 5)).await, [0, 12]);
}

#[tokio::test]
async fn a_call_with_other_arguments_or_of_another_method_is_a_false_retry_after_a_crash_too() {
    let log = crashed().await;
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 0, &add(0, 1, 6)).await[0], 2, "denied");
    let other = request_of(0, 0, 1, method("at_most_once"), &[]);
    assert_eq!(ask(&mut client, 0, &other).await[0], 2, "denied");
    assert_eq!(world.records("reason", "false_retry").len(), 2);
    assert_eq!(ask(&mut client, 0, &add(0, 2, 5)).await, [0, 5], "the call itself is answered");
    assert_eq!((life.begun(), log.lock().unwrap().len()), (0, 1));
}

#[tokio::test]
async fn what_ran_before_the_crash_is_not_told_to_whom_it_is_not_allowed_now() {
    let log = crashed().await;
    let life = Life::recovered(&log);
    let world = World::counting_for_nobody(life.builder()).await;
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 0, &add(0, 1, 5)).await, [9], "stale");
    assert_eq!(life.begun(), 0);
}

#[tokio::test]
async fn while_it_recovers_new_calls_are_refused_and_nothing_is_said_of_what_may_have_run() {
    let log = crashed().await;
    let life = Life::recovering(&log);
    let world = World::counting(life.builder()).await;

    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 1, &value(1)).await, RECOVERING);
    assert_eq!(ask(&mut client, 2, &add(2, 0, 1)).await, RECOVERING);
    assert_eq!(ask(&mut client, 2, &add(2, 1, 1)).await, RECOVERING, "the refusal is final");
    let others = request_of(3, 0, 0, crate::probe::method("touch"), &[1, b'k']);
    assert_eq!(ask(&mut client, 3, &others).await, [0], "another service serves");
    // Whatever comes with it is answered.
    client.send(&[value(4), add(0, 1, 5), value(5)].concat()).await;
    assert_eq!(answer(&mut client, 4).await, RECOVERING);
    assert_eq!(answer(&mut client, 5).await, RECOVERING);
    let mut unanswered = vec![client];
    for unanswerable in [add(0, 2, 5), inquire(0), again("at_most_once"), again("add_and_hang")] {
        let mut client = alice(&world).await;
        client.send(&unanswerable).await;
        assert_eq!(ask(&mut client, 4, &value(4)).await, RECOVERING);
        unanswered.push(client);
    }

    life.recover();
    for client in &mut unanswered {
        assert_eq!(client.rest().await, [Seen::Close, Seen::End], "it has to ask again");
    }
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 0, &add(0, 3, 5)).await, [0, 5]);
    assert_eq!(ask(&mut client, 6, &value(6)).await, [0, 5]);
    assert_eq!(life.begun(), 0);
}

fn again(name: &str) -> Vec<u8> {
    request_of(9, 0, 1, method(name), &[])
}

#[tokio::test]
async fn handlers_at_work_are_answered_before_a_connection_ends_for_what_is_not() {
    let log = crashed().await;
    let life = Life::recovering(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    client.send(&request_of(1, 0, 0, crate::probe::method("hang"), &[])).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    client.send(&add(0, 1, 5)).await;
    assert_eq!(ask(&mut client, 2, &value(2)).await, RECOVERING);
    life.recover();
    // What comes now is for the next connection.
    time::sleep(Duration::from_millis(100)).await;
    client.send(&value(3)).await;
    time::sleep(Duration::from_millis(100)).await;
    world.state.go.add_permits(1);
    assert_eq!(answer(&mut client, 1).await, [0]);
    assert_eq!(client.rest().await, [Seen::Close, Seen::End]);
}

#[tokio::test]
async fn an_inquiry_after_a_crash_finds_what_ran_and_fences_what_did_not() {
    let log = crashed().await;
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    client.send(&[inquire(0), inquire(1)].concat()).await;
    assert_eq!(client.frame().await, [13, 0, 1], "ran");
    assert_eq!(client.frame().await, [13, 1, 0], "never will");
    assert_eq!(ask(&mut client, 1, &add(1, 1, 1)).await, [9], "stale");
    assert_eq!(ask(&mut client, 0, &add(0, 1, 5)).await, [0, 5]);
    assert_eq!(life.begun(), 0);
}

#[tokio::test]
async fn a_call_that_was_late_is_known_to_have_run_once_the_log_has_it() {
    let log = Log::default();
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    let brief = Duration::from_millis(50);
    client.send(&request_within(brief, 0, method("add_and_hang"), &[])).await;
    assert_eq!(answer(&mut client, 0).await, [4, 2], "late, and nobody knows");
    client.send(&inquire(0)).await;
    assert_eq!(client.frame().await, [13, 0, 1], "ran");
    let again = request_of(0, 0, 1, method("add_and_hang"), &[]);
    assert_eq!(ask(&mut client, 0, &again).await, [0, 1]);
    assert_eq!(life.begun(), 1);
}

#[tokio::test]
async fn acknowledged_completions_go_and_their_calls_are_stale() {
    let log = Log::default();
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    for call in 0..6 {
        client.send(&add(call, 0, 1)).await;
        client.frame().await;
    }
    let kept = || life.completions.snapshot().len();
    assert_eq!(kept(), 6);
    client.send(&add_above(2, 6, 0, 1)).await;
    client.frame().await;
    assert_eq!(kept(), 5, "0 and 1 have gone, and 6 has come");
    // Acknowledged: all below 3, and 4.
    client.send(&frame(&[8, 3, 1, 1, 1])).await;
    eventually("2 and 4 have gone", || kept() == 3).await;
    world.kill().await;

    // The log has the floor of the last record.
    let life = Life::recovered(&log);
    assert_eq!(life.completions.snapshot().len(), 5);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 1, &add(1, 1, 1)).await, [9], "stale");
    client.send(&inquire(1)).await;
    assert_eq!(client.frame().await, [13, 1, 3], "not known");
    assert_eq!(ask(&mut client, 5, &add(5, 1, 1)).await, [0, 6]);
    assert_eq!(life.begun(), 0);
}

#[tokio::test]
async fn a_call_without_an_effect_leaves_nothing_and_may_decide_anew() {
    let log = Log::default();
    let life = Life::recovered(&log);
    let world = World::counting(life.builder()).await;
    let mut client = alice(&world).await;
    let own = ask(&mut client, 0, &add(0, 0, 0)).await;
    assert_eq!(own, [&[1, 14][..], b"nothing to add"].concat());
    assert_eq!(ask(&mut client, 0, &add(0, 1, 0)).await, own, "it is kept while the server lives");
    assert_eq!((life.begun(), log.lock().unwrap().len()), (1, 0));
    let plain = request_of(1, 0, 0, method("at_most_once"), &[]);
    assert_eq!(ask(&mut client, 1, &plain).await, [0], "a method that is not durable has none");
}

#[tokio::test]
async fn a_store_has_a_name_that_survives_and_another_store_has_another() {
    let log = Log::default();
    let mut names = Vec::new();
    for builder in [
        Life::recovered(&log).builder(),
        Life::recovering(&log).builder(),
        Life::of_store([8; 16], &log).builder(),
        Server::builder(test_identity("server"))
            .service(CounterServer::new(Forgetful(AtomicUsize::new(0)))),
    ] {
        let world = World::counting(builder).await;
        names.push(alice(&world).await.store);
    }
    assert_eq!(names[0], names[1], "whether or not its log has been read");
    assert_ne!(names[0], names[2]);
    assert!(names[..3].iter().all(|name| *name != [0; 8]));
    names.push(alice(&World::start().await).await.store);
    assert_eq!(names[3..], [[0; 8]; 2], "nothing is kept");
}

#[tokio::test]
async fn a_durable_method_of_which_nothing_is_kept_runs_at_most_once() {
    let counter = CounterServer::new(Forgetful(AtomicUsize::new(0)));
    let world = World::counting(Server::builder(test_identity("server")).service(counter)).await;
    let mut client = alice(&world).await;
    assert_eq!(ask(&mut client, 0, &add(0, 0, 5)).await, [0, 1]);
    assert_eq!(ask(&mut client, 0, &add(0, 1, 5)).await, [0, 1]);
    client.send(&inquire(3)).await;
    assert_eq!(client.frame().await, [13, 3, 0], "nothing is recovering");
}

#[tokio::test]
async fn a_client_can_be_served_to_others_and_keeps_nothing_itself() {
    let log = Log::default();
    let world = World::counting(Life::recovered(&log).builder()).await;
    let client = CounterClient::new(world.channel("alice", Limits::default()).await.unwrap());
    let before = World::counting(proxy(client)).await;
    let channel = before.channel("alice", Limits::default()).await.unwrap();
    assert_eq!(CounterClient::new(channel).add(&cx(), 3).await, Ok(3));
    assert_eq!(log.lock().unwrap().len(), 1);
}

/// A client with a call whose answer is lost in a crash of the server, and what that left.
async fn crashed_under_a_client(over: Over) -> (CounterClient, Asking, Dead, Log) {
    let log = Log::default();
    let life = Life::recovered(&log);
    let world = match over {
        Over::Tcp => World::counting(life.builder()).await,
        Over::Udp => World::counting_over_udp(life.builder()).await,
    };
    let client = CounterClient::new(world.channel("alice", eager()).await.unwrap());
    assert_eq!(client.add(&cx(), 1).await, Ok(1));
    let caller = client.clone();
    let asking = tokio::spawn(async move { caller.add_and_hang(&cx()).await });
    eventually("it ran", || log.lock().unwrap().len() == 2).await;
    (client, asking, world.kill().await, log)
}

type Asking = tokio::task::JoinHandle<Result<u64, CallError<String>>>;

#[derive(Clone, Copy, Debug)]
enum Over {
    Tcp,
    Udp,
}

#[tokio::test]
async fn a_client_gets_the_answer_of_a_call_that_ran_before_the_crash_over_either_transport() {
    for over in [Over::Tcp, Over::Udp] {
        let (client, asking, dead, log) = crashed_under_a_client(over).await;
        let life = Life::recovered(&log);
        let _world = dead.restart_counting(life.builder()).await;
        assert_eq!(asking.await.unwrap(), Ok(2), "{over:?}");
        assert_eq!(client.add(&cx(), 1).await, Ok(3), "{over:?}");
        assert_eq!((life.begun(), log.lock().unwrap().len()), (1, 3), "{over:?}");
    }
}

#[tokio::test]
async fn a_client_is_told_nothing_untrue_while_the_log_is_read_over_either_transport() {
    for over in [Over::Tcp, Over::Udp] {
        let (client, asking, dead, log) = crashed_under_a_client(over).await;
        let life = Life::recovering(&log);
        let world = dead.restart_counting(life.builder()).await;
        // A call that was never sent before is refused at once, in spite of the other.
        let refused = loop {
            match client.value(&cx()).await {
                Err(CallError::Unavailable(why)) => break why,
                // This one the server that died may have had.
                Err(CallError::OutcomeUnknown { .. }) => {}
                other => panic!("{over:?}: {other:?}"),
            }
        };
        assert_eq!(refused, Unavailable::Recovering, "{over:?}");
        time::sleep(Duration::from_millis(200)).await;
        assert!(!asking.is_finished(), "{over:?}: nothing is known as yet");
        life.recover();
        assert_eq!(asking.await.unwrap(), Ok(2), "{over:?}");
        assert_eq!(client.value(&cx()).await, Ok(2), "{over:?}");
        assert_eq!(life.begun(), 0, "{over:?}");
        drop(world);
    }
}

#[rpc_service(verb = "write", object = "counter")]
trait Notes {
    #[rpc(durable)]
    async fn note(&self, cx: &Context) -> Result<(), CallError>;
}

/// Keeps no completions, as a proxy of another server's notes does.
struct Elsewhere;

impl Notes for Elsewhere {
    async fn note(&self, _: &Context) -> Result<(), CallError> {
        Ok(())
    }
}

impl Durable for Elsewhere {
    fn completions(&self) -> Option<&Completions> {
        None
    }
}

#[tokio::test]
async fn a_server_one_of_whose_durable_services_keeps_nothing_names_no_store() {
    let log = Log::default();
    let builder = Life::recovered(&log).builder().service(NotesServer::new(Elsewhere));
    let world = World::counting(builder).await;
    let store = alice(&world).await.store;
    assert_eq!(store, [0; 8], "a client would have a note that may have been taken taken again");
}
