//! `vectors/handshake.json`: every key, hash and byte of our own handshake and first records.
//!
//! The file is computed by [`crate::raw`], not by the code under test. To write it anew after a
//! change of the protocol:
//!
//! ```text
//! BAILIWICK_WRITE_VECTORS=1 cargo test -p bailiwick-crypto --test it the_file_is
//! ```

mod datagrams;

use std::collections::BTreeMap;
use std::time::Instant;

use bailiwick_crypto::{
    Identity, Opened, Params, Psk, RecordLimits, Session, Transport, initiator, responder,
};
use serde::{Deserialize, Serialize};

use crate::raw::{Exchange, Peer, Traffic};
use crate::support::{FixedRng, hex, unhex};
use crate::vectors::own_folder;

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
struct File {
    about: String,
    cases: Vec<Case>,
}

/// One handshake: what went in, and what must come out, in hexadecimal digits.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
struct Case {
    name: String,
    given: BTreeMap<String, String>,
    answers: BTreeMap<String, String>,
}

const ABOUT: &str = "Known answers of Bailiwick's handshake and records, version 1, suite 1, on \
    TCP; docs/protocol.md has the formulas. Values are hexadecimal. *_share_secret is the X25519 \
    secret as drawn; psk of zeros is none. Records: each side's in the order sent; the key update \
    comes when the threshold of two records is reached, and its answer at once.";

const FROM_I: [&[u8]; 3] = [b"hello", b"", b"after the key update"];
const FROM_R: &[u8] = b"answered under the new key";

#[test]
fn the_file_is_what_the_formulas_give() {
    let computed = File { about: ABOUT.to_owned(), cases: inputs().iter().map(case).collect() };
    let path = own_folder().join("handshake.json");
    if std::env::var_os("BAILIWICK_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(file, computed);
}

#[test]
fn the_code_gives_the_answers_of_the_file() {
    let path = own_folder().join("handshake.json");
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(file.cases.len() >= 2);
    for case in &file.cases {
        replay(case);
    }
}

struct Inputs {
    name: &'static str,
    initiator: Peer,
    responder: Peer,
    initiator_seed: [u8; 32],
    responder_seed: [u8; 32],
}

fn inputs() -> Vec<Inputs> {
    ["tcp", "tcp with a pre-shared key"]
        .into_iter()
        .map(|name| {
            let (initiator_seed, responder_seed) = (counting(0x00), counting(0x20));
            let mut initiator = Peer::honest(initiator_seed, 0x40, params(0xaa, false));
            let mut responder = Peer::honest(responder_seed, 0x60, params(0xbb, true));
            if name.contains("pre-shared") {
                (initiator.psk, responder.psk) = (counting(0x80), counting(0x80));
            }
            Inputs { name, initiator, responder, initiator_seed, responder_seed }
        })
        .collect()
}

/// Defaults, with an incarnation of one repeated byte; the lease if it is a responder's.
fn params(incarnation: u8, lease: bool) -> Vec<u8> {
    let mut list = unhex("0001000400010000").unwrap();
    list.extend(unhex("0002000400007530").unwrap());
    list.extend(unhex("0003000400010000").unwrap());
    list.extend(unhex("0004000400000400").unwrap());
    list.extend(unhex("00050010").unwrap());
    list.extend([incarnation; 16]);
    if lease {
        list.extend(unhex("000600040000ea60").unwrap());
    }
    list
}

fn counting(from: u8) -> [u8; 32] {
    std::array::from_fn(|at| from + u8::try_from(at).unwrap())
}

fn case(inputs: &Inputs) -> Case {
    let Inputs { initiator, responder, .. } = inputs;
    let init = initiator.init(&responder.id);
    let exchange = initiator.fin(responder.resp(&init));
    let given = [
        ("initiator_seed", &inputs.initiator_seed[..]),
        ("responder_seed", &inputs.responder_seed),
        ("initiator_share_secret", &initiator.secret),
        ("responder_share_secret", &responder.secret),
        ("initiator_scid", &initiator.scid),
        ("responder_scid", &responder.scid),
        ("psk", &initiator.psk),
        ("initiator_params", &initiator.params),
        ("responder_params", &responder.params),
    ];
    let mut answers = answers(inputs, &init, &exchange);
    answers.extend(records(&exchange));
    Case { name: inputs.name.to_owned(), given: digits(&given), answers }
}

fn answers(inputs: &Inputs, init: &[u8], exchange: &Exchange) -> BTreeMap<String, String> {
    digits(&[
        ("initiator_public_key", &inputs.initiator.id[..]),
        ("responder_public_key", &inputs.responder.id),
        ("initiator_share", &inputs.initiator.share),
        ("responder_share", &inputs.responder.share),
        ("init", init),
        ("resp", &exchange.resp),
        ("fin", &exchange.fin),
        ("ss_x25519", &exchange.shared),
        ("prk", &exchange.prk),
        ("th0", &exchange.th0),
        ("th1", &exchange.th1),
        ("th2", &exchange.th2),
        ("th3", &exchange.th3),
        ("th4", &exchange.th4),
        ("th5", &exchange.th5),
        ("th6", &exchange.th6),
        ("th7", &exchange.th7),
        ("hk_r", &exchange.hk_r),
        ("hk_i", &exchange.hk_i),
        ("fk_r", &exchange.fk_r),
        ("fk_i", &exchange.fk_i),
        ("sig_r", &exchange.sig_r),
        ("sig_i", &exchange.sig_i),
        ("fin_r", &exchange.fin_r),
        ("fin_i", &exchange.fin_i),
        ("ms", &exchange.ms),
        ("es", &exchange.es),
        ("export_test", &exchange.export(b"test")),
    ])
}

/// Two records, a key update and a third from the initiator; a ping, the answer, data and close
/// from the responder.
fn records(exchange: &Exchange) -> BTreeMap<String, String> {
    let (mut i0, mut r0) = (Traffic::new(exchange.ts_i), Traffic::new(exchange.ts_r));
    let (mut i1, mut r1) = (i0.next_epoch(), r0.next_epoch());
    let mut all = BTreeMap::new();
    for (name, traffic) in [("i_0", &i0), ("r_0", &r0), ("i_1", &i1), ("r_1", &r1)] {
        all.insert(format!("ts_{name}"), hex(&traffic.secret()));
        all.insert(format!("key_{name}"), hex(&traffic.key));
        all.insert(format!("iv_{name}"), hex(&traffic.iv));
    }
    let sealed = [
        ("record_i_1_data", i0.seal(&[FROM_I[0], &[1]].concat())),
        ("record_i_2_data_empty", i0.seal(&[FROM_I[1], &[1]].concat())),
        ("record_i_3_key_update", i0.seal(&[2])),
        ("record_i_4_data", i1.seal(&[FROM_I[2], &[1]].concat())),
        ("record_r_1_ping", r0.seal(&[5])),
        ("record_r_2_key_update", r0.seal(&[2])),
        ("record_r_3_data", r1.seal(&[FROM_R, &[1]].concat())),
        ("record_r_4_close", r1.seal(&[3])),
    ];
    all.extend(sealed.map(|(name, record)| (name.to_owned(), hex(&record))));
    all
}

fn digits(values: &[(&str, &[u8])]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), hex(value))).collect()
}

/// Drives the code under test with a case's inputs and compares all it sends.
fn replay(case: &Case) {
    let given = |name: &str| unhex(&case.given[name]).unwrap();
    let answer = |name: &str| unhex(&case.answers[name]).unwrap();
    let seed = |name: &str| Identity::from_seed(&given(name).try_into().unwrap());
    let psk = Psk::from_bytes(&given("psk").try_into().unwrap()).ok();
    let limits = RecordLimits { records: 2, ..RecordLimits::default() };
    let server = seed("responder_seed");
    let initiator = initiator::Config {
        transport: Transport::Tcp,
        identity: seed("initiator_seed"),
        server: server.public_key(),
        params: Params::new([0xaa; 16]),
        psk: psk.clone(),
        records: limits,
    };
    let responder = responder::Config {
        identities: vec![(server, psk)],
        // The responder never reaches its own threshold here: it only answers.
        ..responder::Config::new(Transport::Tcp, seed("responder_seed"), Params::new([0xbb; 16]))
    };
    let draw = |secret: &str, scid: &str| FixedRng::new(&[given(secret), given(scid)].concat());
    let now = Instant::now();

    let alice = initiator::start(initiator, &mut draw("initiator_share_secret", "initiator_scid"));
    assert_eq!(hex(alice.init()), case.answers["init"]);
    let mut drawn = draw("responder_share_secret", "responder_scid");
    let server = responder::accept(&responder, alice.init(), &mut drawn).unwrap();
    assert_eq!(hex(server.resp()), case.answers["resp"]);
    let (fin, alice) = alice.read_resp(server.resp(), now).unwrap();
    assert_eq!(hex(&fin), case.answers["fin"]);
    let server = server.read_fin(&fin, now).unwrap().admit().unwrap();
    for session in [&alice, &server] {
        assert_eq!(session.channel_id[..], answer("th7"));
        assert_eq!(session.exporter.export("test").unwrap()[..], answer("export_test"));
    }
    assert_eq!(alice.peer_params, responder.params);
    replay_records(case, alice, server, now);
}

fn replay_records(case: &Case, mut alice: Session, mut server: Session, now: Instant) {
    let joined = |names: &[&str]| names.iter().map(|n| &*case.answers[*n]).collect::<String>();
    let mut sent = Vec::new();
    for content in FROM_I {
        alice.records.seal_data(content, now, &mut sent).unwrap();
    }
    let expected = joined(&[
        "record_i_1_data",
        "record_i_2_data_empty",
        "record_i_3_key_update",
        "record_i_4_data",
    ]);
    assert_eq!(hex(&sent), expected);

    let mut answered = Vec::new();
    server.records.seal_ping(now, &mut answered).unwrap();
    for name in ["record_i_1_data", "record_i_2_data_empty", "record_i_3_key_update"] {
        let mut record = unhex(&case.answers[name]).unwrap();
        server.records.open(&mut record, now).unwrap();
    }
    server.records.poll_transmit(now, &mut answered).unwrap();
    let mut last = unhex(&case.answers["record_i_4_data"]).unwrap();
    let Opened::Data(content) = server.records.open(&mut last, now).unwrap() else {
        panic!("data comes back as data")
    };
    assert_eq!(content, FROM_I[2]);
    server.records.seal_data(FROM_R, now, &mut answered).unwrap();
    server.records.seal_close(now, &mut answered).unwrap();
    let expected = joined(&[
        "record_r_1_ping",
        "record_r_2_key_update",
        "record_r_3_data",
        "record_r_4_close",
    ]);
    assert_eq!(hex(&answered), expected);
}
