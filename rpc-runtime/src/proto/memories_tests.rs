use std::time::Instant;

use bailiwick_crypto::Identity;

use super::*;
use crate::{
    id::MethodId,
    proto::{
        claim::{Claim, Turn},
        completions::Past,
        duplicate_requests::{Digest, Given, Keep},
    },
};

const LEASE: Duration = Duration::from_secs(60);

fn memories(max_clients: usize) -> Memories {
    Memories::new(&Limits { max_clients, lease: LEASE, ..Limits::default() })
}

fn client(seed: u8) -> PublicKey {
    Identity::from_seed(&[seed; 32]).public_key()
}

fn life(number: u8) -> Incarnation {
    Incarnation::from_bytes([number; 16])
}

fn begin(attached: &Attached, call: u64) -> Claim {
    let digest = Digest::of(MethodId::new(1), b"");
    match attached.arrive(call, 0, Keep::Answer { digest, method: 0 }, Past::none(), Instant::now())
    {
        Ok(Turn::Mine(claim)) => claim,
        _ => panic!("call {call} does not begin"),
    }
}

fn is_new(attached: &Attached, call: u64) -> bool {
    let digest = Digest::of(MethodId::new(1), b"");
    let turn =
        attached.arrive(call, 0, Keep::Answer { digest, method: 0 }, Past::none(), Instant::now());
    matches!(turn, Ok(Turn::Mine(_)))
}

#[test]
fn a_connection_keeps_one_share_of_its_memory_for_the_next_call_and_none_of_anothers() {
    let memories = memories(10);
    let attached = memories.attach(client(1), life(1), [1; 8]).unwrap();
    let shares = || Arc::strong_count(attached.memory());
    let before = shares();
    for call in 0..3 {
        let claim = begin(&attached, call);
        assert_eq!(shares(), before + 1, "call {call} is at work");
        attached.finish(claim, Given::Lent(b"\0"));
        assert_eq!(shares(), before + 1, "call {call} has ended");
    }
    let (first, second) = (begin(&attached, 3), begin(&attached, 4));
    assert_eq!(shares(), before + 2);
    attached.finish(first, Given::Lent(b"\0"));
    attached.finish(second, Given::Lent(b"\0"));
    assert_eq!(shares(), before + 1);

    let other = memories.attach(client(2), life(1), [2; 8]).unwrap();
    let shares_of_other = Arc::strong_count(other.memory());
    attached.finish(begin(&other, 0), Given::Lent(b"\0"));
    assert_eq!(Arc::strong_count(other.memory()), shares_of_other);
}

#[test]
fn connections_of_one_life_share_a_memory_and_others_do_not() {
    let memories = memories(10);
    let first = memories.attach(client(1), life(1), [1; 8]).unwrap();
    let second = memories.attach(client(1), life(1), [2; 8]).unwrap();
    assert_eq!((first.id(), second.id()), ([1; 8], [1; 8]));
    assert_ne!(first.via(), second.via());
    begin(&first, 5).finish(Given::Lent(b"\0"));
    assert!(!is_new(&second, 5));

    let other_life = memories.attach(client(1), life(2), [3; 8]).unwrap();
    let other_key = memories.attach(client(2), life(1), [4; 8]).unwrap();
    assert_eq!((other_life.id(), other_key.id()), ([3; 8], [4; 8]));
    assert!(is_new(&other_life, 5) && is_new(&other_key, 5));
}

#[test]
fn a_memory_outlives_its_last_connection_by_the_lease() {
    let (memories, begun) = (memories(10), Instant::now());
    let attached = memories.attach(client(1), life(1), [1; 8]).unwrap();
    begin(&attached, 5).finish(Given::Lent(b"\0"));
    memories.expire(&Books::default(), begun + 100 * LEASE);
    drop(attached);

    let left = begun + 200 * LEASE;
    memories.expire(&Books::default(), left);
    memories.expire(&Books::default(), left + LEASE - Duration::from_millis(1));
    let attached = memories.attach(client(1), life(1), [2; 8]).unwrap();
    assert_eq!(attached.id(), [1; 8]);
    assert!(!is_new(&attached, 5));
    drop(attached);

    memories.expire(&Books::default(), left + 10 * LEASE);
    memories.expire(&Books::default(), left + 11 * LEASE);
    let attached = memories.attach(client(1), life(1), [3; 8]).unwrap();
    assert_eq!(attached.id(), [3; 8], "another name: the client can tell that all is forgotten");
    assert!(is_new(&attached, 5));
}

#[test]
fn a_lease_begins_anew_with_each_connection_however_short() {
    let (memories, begun) = (memories(10), Instant::now());
    drop(memories.attach(client(1), life(1), [1; 8]).unwrap());
    memories.expire(&Books::default(), begun);
    drop(memories.attach(client(1), life(1), [2; 8]).unwrap());
    memories.expire(&Books::default(), begun + LEASE);
    assert_eq!(memories.attach(client(1), life(1), [3; 8]).unwrap().id(), [1; 8]);
}

#[test]
fn clients_at_rest_give_memory_back() {
    let memories = memories(10);
    let attached = memories.attach(client(1), life(1), [1; 8]).unwrap();
    for call in 0..1000 {
        begin(&attached, call).finish(Given::Lent(&[0; 100]));
    }
    attached.lock().acknowledge(1000);
    assert!(attached.lock().footprint() > 50_000);
    memories.expire(&Books::default(), Instant::now());
    memories.expire(&Books::default(), Instant::now());
    assert!(attached.lock().footprint() < 1024, "{} bytes", attached.lock().footprint());
}

#[test]
fn a_client_with_a_call_at_work_is_not_forgotten() {
    let (memories, begun) = (memories(10), Instant::now());
    let attached = memories.attach(client(1), life(1), [1; 8]).unwrap();
    let claim = begin(&attached, 5);
    drop(attached);
    memories.expire(&Books::default(), begun);
    memories.expire(&Books::default(), begun + 100 * LEASE);
    claim.finish(Given::Lent(b"\0"));
    memories.expire(&Books::default(), begun + 101 * LEASE);
    assert_eq!(memories.attach(client(1), life(1), [2; 8]).unwrap().id(), [1; 8]);
}

#[test]
fn a_full_table_turns_new_clients_away_and_forgets_nobody() {
    let (memories, begun) = (memories(4), Instant::now());
    let _held: Vec<_> =
        (1..=3).map(|seed| memories.attach(client(seed), life(1), [seed; 8]).unwrap()).collect();
    drop(memories.attach(client(4), life(1), [4; 8]).unwrap());
    assert_eq!(memories.attach(client(5), life(1), [5; 8]).err(), Some(TooManyClients));
    for seed in 1..=4 {
        assert_eq!(memories.attach(client(seed), life(1), [9; 8]).unwrap().id(), [seed; 8]);
    }
    memories.expire(&Books::default(), begun);
    memories.expire(&Books::default(), begun + LEASE);
    assert!(memories.attach(client(5), life(1), [5; 8]).is_ok());
}

#[test]
fn one_key_cannot_take_all_places() {
    let memories = memories(4);
    let _held = [1, 2].map(|number| memories.attach(client(1), life(number), [1; 8]).unwrap());
    assert_eq!(memories.attach(client(1), life(3), [1; 8]).err(), Some(TooManyClients));
    assert!(memories.attach(client(1), life(2), [1; 8]).is_ok());
    assert!(memories.attach(client(2), life(3), [1; 8]).is_ok());
}

#[test]
fn a_claim_that_is_dropped_leaves_a_mark() {
    let memories = memories(4);
    let attached = memories.attach(client(1), life(1), [1; 8]).unwrap();
    drop(begin(&attached, 5));
    let digest = Digest::of(MethodId::new(1), b"");
    let turn =
        attached.arrive(5, 0, Keep::Answer { digest, method: 0 }, Past::none(), Instant::now());
    assert!(matches!(turn, Ok(Turn::Stale)));
    assert!(attached.lock().is_idle());
}
