//! A client that breaks the protocol: it learns what the protocol says it does, nothing of it
//! runs, and others on the same server notice nothing.

use std::time::{Duration, Instant};

use bailiwick::{Limits, testing::test_identity};
use bailiwick_crypto::{Alert, RecordLimits};
use tokio::time;

use crate::{
    probe::{Probe, ProbeClient, method},
    raw::{Raw, Seen, frame, reply, request, request_of, varint},
    world::{World, cx, eventually},
};

/// A server, and somebody whose connection must live through what another does to it.
struct Scene {
    world: World,
    bystander: ProbeClient,
}

impl Scene {
    async fn set() -> Self {
        let limits = Limits { max_frame: 4096, ..Limits::default() };
        let world = World::with_limits(limits).await;
        let bystander = world.client("alice").await;
        Self { world, bystander }
    }

    async fn intruder(&self) -> Raw {
        Raw::client(&self.world, test_identity("alice")).await
    }

    /// What an intruder sees after its bytes, until the server hangs up.
    async fn answer(&self, intruder: &mut Raw, what: &str) -> Vec<Seen> {
        let seen = time::timeout(Duration::from_secs(10), intruder.rest()).await;
        let seen = seen.unwrap_or_else(|_| panic!("the server does not hang up: {what}"));
        let echoed = self.bystander.echo(&cx(), "undisturbed".into()).await;
        assert_eq!(echoed, Ok("undisturbed".into()), "{what}");
        seen
    }
}

/// A request whose fields are given, and nothing behind its metadata.
fn request_with(call: u64, metadata: &[u8]) -> Vec<u8> {
    let mut body = vec![1];
    varint(call, &mut body);
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&method("echo").get().to_be_bytes());
    body.extend_from_slice(&[100, 0]);
    body.extend_from_slice(metadata);
    body
}

/// As only a server sends it: kind, id, port, store, lease.
const A_MEMORY: [u8; 21] = [11, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_is_answered_by_the_alert_and_runs_nothing() {
    let scene = Scene::set().await;
    let whole = request(0, method("increment"), &[1, b'k']);
    let many_entries = [&[65][..], &[0; 130]].concat();
    let long_entry = [&[1, 1, b'k', 0xff, 0x7f][..], &[b'v'; 2000]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a length of zero", vec![0, 0, 0, 0]),
        ("a length one too long", 4097_u32.to_be_bytes().to_vec()),
        ("a length of 1 GiB", (1_u32 << 30).to_be_bytes().to_vec()),
        ("the longest length", vec![0xff; 4]),
        ("type 0", frame(&[0, 0])),
        ("an unknown type", frame(&[14, 0])),
        ("the last type", frame(&[0xff])),
        ("a cancel with bytes behind it", frame(&[7, 5, 0])),
        ("a cancel without its number", frame(&[7])),
        ("a number longer than need be", frame(&[7, 0x80, 0])),
        ("a number above 64 bits", frame(&[[7].as_slice(), &[0xff; 9], &[2]].concat())),
        ("a ping of a third kind", frame(&[9, 2, 0])),
        ("an acknowledge with bytes behind it", frame(&[8, 0, 0, 0])),
        ("an acknowledge of 65 ranges", frame(&[&[8, 0, 65][..], &[1; 130]].concat())),
        ("an acknowledge of a range that is not there", frame(&[8, 0, 1, 5])),
        ("a question for a memory with bytes behind it", frame(&[11, 0, 0])),
        ("a question of a third kind", frame(&[11, 2])),
        ("an inquiry without its number", frame(&[12])),
        ("an inquiry for a call too far ahead", frame(&[12, 0x80, 0x80, 4])),
        ("a request of one byte", frame(&[1])),
        ("a request cut in its method", frame(&whole[4..12])),
        ("65 entries of metadata", frame(&request_with(0, &many_entries))),
        ("2^64 entries of metadata", frame(&request_with(0, &[0xff; 9]))),
        ("metadata that are not there", frame(&request_with(0, &[1, 5, b'k']))),
        ("metadata of 16 KiB", frame(&request_with(0, &long_entry))),
        ("metadata that are not UTF-8", frame(&request_with(0, &[1, 1, 0xff, 0]))),
        ("the last call number", request(u64::MAX, method("increment"), &[1, b'k'])),
        ("a call 65,536 above the floor", request(1 << 16, method("increment"), &[1, b'k'])),
        ("a call below its floor", request_of(4, 5, 0, method("increment"), &[1, b'k'])),
        ("a reply", reply(0, 0, &[])),
        ("working", frame(&[3, 0, 0, 0])),
        ("the name of a memory", frame(&A_MEMORY)),
        ("an outcome", frame(&[13, 0, 0])),
        ("go-away", frame(&[10])),
    ];
    for (what, bytes) in cases {
        let mut intruder = scene.intruder().await;
        intruder.send(&bytes).await;
        let seen = scene.answer(&mut intruder, what).await;
        assert_eq!(seen, [Seen::Alert(Alert::ProtocolError), Seen::End], "{what}");
    }
    assert_eq!(scene.world.state.counter(), 0);
    assert!(!scene.world.records("reason", "malformed_frame").is_empty());
}

#[tokio::test]
async fn a_call_number_never_runs_twice() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    for (what, call, counter) in
        [("the first", 7, 1), ("the same number", 7, 1), ("a lower one, which came late", 6, 2)]
    {
        client.send(&request(call, method("increment"), &[1, b'k'])).await;
        let number = u8::try_from(call).unwrap();
        assert_eq!(client.frame().await, [2, number, 0, 0, counter], "{what}");
        assert_eq!(scene.world.state.counter(), u64::from(counter), "{what}");
    }
    client.send(&request_of(8, 7, 0, method("increment"), &[1, b'k'])).await;
    assert_eq!(client.frame().await[..4], [2, 8, 0, 0]);
    client.send(&request_of(6, 0, 1, method("increment"), &[1, b'k'])).await;
    assert_eq!(client.frame().await, [2, 6, 1, 9], "acknowledged: it is stale");
    assert_eq!(scene.world.state.counter(), 3);
}

#[tokio::test]
async fn frames_that_are_of_no_use_are_passed_over() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    let useless = [
        frame(&[4, 9, 1, 2, 3]), // an item of a stream that is not open
        frame(&[5, 9, 4]),
        frame(&[6, 9]),
        frame(&[7, 100]), // a cancel of a call that was never made
        frame(&[8, 0xff, 0x01, 1, 2, 3]),
        frame(&[9, 1, 3]), // the answer to a ping that nobody sent
    ];
    client.send(&useless.concat()).await;
    client.send(&frame(&[9, 0, 77])).await;
    assert_eq!(client.frame().await, [9, 1, 77], "the ping behind them is answered");
}

#[tokio::test]
async fn a_record_that_is_not_authentic_ends_the_connection_in_silence() {
    let scene = Scene::set().await;
    for what in ["flipped", "tag flipped", "length flipped", "replayed", "skipped", "strange"] {
        let mut intruder = scene.intruder().await;
        intruder.send(&request(0, method("hang"), &[])).await;
        eventually("it hangs", || scene.world.state.hanging() == 1).await;
        let mut record = intruder.seal(&request(1, method("increment"), &[1, b'k']));
        let last = record.len() - 1;
        match what {
            "flipped" => record[9] ^= 1,
            "tag flipped" => record[last] ^= 0x80,
            "length flipped" => record[3] ^= 1,
            "skipped" => record = intruder.seal(&request(2, method("increment"), &[1, b'k'])),
            "strange" => record = vec![0, 0, 0, 40].into_iter().chain([0x55; 40]).collect(),
            _ => {}
        }
        intruder.write(&record).await;
        if what == "replayed" {
            assert_eq!(intruder.frame().await[..4], [2, 1, 0, 0]);
            intruder.write(&record).await;
        } else if what == "length flipped" {
            intruder.write(&[0; 64]).await;
        }
        assert_eq!(scene.answer(&mut intruder, what).await, [Seen::End], "{what}");
        assert_eq!(scene.world.state.hanging(), 1, "what has begun goes on: {what}");
        scene.world.state.go.add_permits(1);
        eventually("it ends", || scene.world.state.hanging() == 0).await;
    }
    assert_eq!(scene.world.state.counter(), 1, "the first of the replayed ones");
    let records = scene.world.records("event", "session.broken");
    assert_eq!(records.len(), 6, "one for each");
    for field in [r#""reason":"record_not_authentic""#, r#""principal":"alice""#] {
        assert!(records.iter().all(|record| record.contains(field)), "{field}: {records:?}");
    }
}

#[tokio::test]
async fn a_record_length_out_of_range_ends_the_connection_in_silence() {
    let scene = Scene::set().await;
    for length in [0_u32, 1, 16, 65_553, 1 << 20, 1 << 30, u32::MAX] {
        let mut intruder = scene.intruder().await;
        intruder.write(&length.to_be_bytes()).await;
        let what = format!("a record of {length} bytes");
        assert_eq!(scene.answer(&mut intruder, &what).await, [Seen::End], "{what}");
    }
}

#[tokio::test]
async fn the_32nd_empty_record_in_a_row_is_one_too_many() {
    let scene = Scene::set().await;
    let mut intruder = scene.intruder().await;
    let now = Instant::now();
    let mut records = Vec::new();
    for _ in 0..31 {
        intruder.records.seal_data(b"", now, &mut records).unwrap();
    }
    intruder.write(&records).await;
    intruder.send(&frame(&[9, 0, 5])).await;
    assert_eq!(intruder.frame().await, [9, 1, 5], "31 are borne, and a frame forgives them");

    records.clear();
    for _ in 0..32 {
        intruder.records.seal_data(b"", now, &mut records).unwrap();
    }
    intruder.write(&records).await;
    let seen = scene.answer(&mut intruder, "32 empty records").await;
    assert_eq!(seen, [Seen::Alert(Alert::LimitExceeded), Seen::End]);
    assert_eq!(scene.world.records("reason", "record_against_rules").len(), 1);
}

#[tokio::test]
async fn a_flood_of_key_updates_is_stopped() {
    let scene = Scene::set().await;
    // A key is old after one record, so that each ping brings an update behind it.
    let limits = RecordLimits { records: 1, ..RecordLimits::default() };
    let alice = test_identity("alice");
    let mut intruder = Raw::client_with(&scene.world, alice, limits).await;
    let mut updates = 0;
    let end = loop {
        let mut ping = Vec::new();
        intruder.records.seal_ping(Instant::now(), &mut ping).unwrap();
        intruder.write(&ping).await;
        if updates == 0 {
            // The first key has sealed nothing before this ping.
            updates += 1;
            continue;
        }
        match intruder.next().await {
            Seen::KeyUpdate => updates += 1,
            end => break end,
        }
        assert!(updates <= 40, "nobody stops it");
    };
    assert_eq!((end, updates), (Seen::Alert(Alert::LimitExceeded), 32));
    assert_eq!(scene.answer(&mut intruder, "key updates").await, [Seen::End]);
}

#[tokio::test]
async fn an_alert_of_the_clients_ends_its_connection_and_not_what_it_began() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    client.send(&request(0, method("hang"), &[])).await;
    eventually("it hangs", || scene.world.state.hanging() == 1).await;
    client.send_alert(Alert::InternalError).await;
    assert_eq!(scene.answer(&mut client, "an alert").await, [Seen::End]);
    assert_eq!(scene.world.state.hanging(), 1, "it goes on");
    scene.world.state.go.add_permits(1);
    eventually("it ends", || scene.world.state.hanging() == 0).await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_still_gets_its_answers() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    client.send(&request(0, method("hang"), &[])).await;
    eventually("it hangs", || scene.world.state.hanging() == 1).await;
    client.send_close().await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.socket).await.unwrap();
    // Time for the server to meet the end of the stream.
    time::sleep(Duration::from_millis(100)).await;
    scene.world.state.go.add_permits(1);
    assert_eq!(client.frame().await[..4], [2, 0, 0, 0]);
    assert_eq!(client.rest().await, [Seen::Close, Seen::End]);
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_frame_breaks_the_protocol() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    client.send(&request(0, method("increment"), &[1, b'k'])[..10]).await;
    client.send_close().await;
    let seen = scene.answer(&mut client, "half a frame").await;
    assert_eq!(seen, [Seen::Alert(Alert::ProtocolError), Seen::End]);
}

#[tokio::test]
async fn bytes_behind_a_close_run_nothing() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    client.send(&request(0, method("hang"), &[])).await;
    eventually("it hangs", || scene.world.state.hanging() == 1).await;
    client.send_close().await;
    client
        .write(&[
            0, 0, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
        ])
        .await;
    let seen = scene.answer(&mut client, "bytes behind a close").await;
    assert_eq!(seen.last(), Some(&Seen::End));
    assert_eq!(
        scene.world.state.begun(),
        2,
        "the bystander's echo, and what has begun and goes on"
    );
    scene.world.state.go.add_permits(1);
    eventually("it ends", || scene.world.state.hanging() == 0).await;
}

#[tokio::test]
async fn requests_and_cancels_in_haste_leave_nothing_behind() {
    let scene = Scene::set().await;
    let mut client = scene.intruder().await;
    for round in 0..20_u64 {
        let mut frames = Vec::new();
        for call in round * 500..(round + 1) * 500 {
            frames.extend_from_slice(&request(call, method("hang"), &[]));
            let mut cancel = vec![7];
            varint(call, &mut cancel);
            frames.extend_from_slice(&frame(&cancel));
        }
        client.send(&frames).await;
    }
    client.send(&frame(&[9, 0, 1])).await;
    assert_eq!(client.frame().await, [9, 1, 1]);
    eventually("all are dropped", || scene.world.state.hanging() == 0).await;
    assert_eq!(scene.world.state.begun(), 10_000);
}
