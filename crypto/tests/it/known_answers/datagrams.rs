//! `vectors/datagrams.json`: the handshake over datagrams with a RETRY, and packets of each type.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bailiwick_crypto::{
    DatagramSession, Identity, PacketType, Params, Psk, RecordLimits, RetryKeys, Transport,
    initiator, responder,
};

use super::{Case, File, Inputs, answers, counting, digits, params};
use crate::raw::datagram::{retry, token};
use crate::raw::{Exchange, Peer, Traffic};
use crate::support::{FixedRng, hex, unhex};
use crate::vectors::own_folder;

const ABOUT: &str = "Known answers of Bailiwick's handshake and packets, version 1, suite 1, on UDP; \
    docs/protocol.md has the formulas. Values are hexadecimal. *_share_secret is the X25519 secret \
    as drawn; token_key is K_t, of an even number. The responder demands a RETRY: init is the INIT \
    with its token, first_init the one before. Packets: each side's in the order sent, named by \
    their numbers; the initiator's threshold is four packets, so that its fifth begins epoch 1, \
    which the responder follows.";

const TOKEN_KEY: u8 = 0x90;
const UNIX_SECONDS: u64 = 1_800_000_000;
const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PORT: u16 = 40_000;

/// A packet's type, its content, and the size it is padded to.
type Sent = (PacketType, &'static [u8], usize);

const FROM_I: [Sent; 6] = [
    (PacketType::Data, b"whole frames", 0),
    (PacketType::Fragment, b"\0\0\0\x07\0\0\0\x02a piece", 0),
    (PacketType::FragmentAck, b"\0\0\0\x03\0\x09\xff\x80", 0),
    (PacketType::PathChallenge, b"8 random", 1_200),
    (PacketType::Data, b"after the key update", 0),
    (PacketType::Close, b"", 0),
];
const FROM_R: [Sent; 4] = [
    (PacketType::Ping, b"", 0),
    (PacketType::PathResponse, b"8 random", 1_200),
    (PacketType::Data, b"answered under the new key", 0),
    (PacketType::Alert, &[4], 0),
];
/// How many of them are sent in epoch 0.
const OLD_I: usize = 4;
const OLD_R: usize = 2;

#[test]
fn the_file_is_what_the_formulas_give_for_datagrams() {
    let computed = File { about: ABOUT.to_owned(), cases: vec![case()] };
    let path = own_folder().join("datagrams.json");
    if std::env::var_os("BAILIWICK_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(file, computed);
}

#[test]
fn the_code_gives_the_answers_of_the_file_for_datagrams() {
    let path = own_folder().join("datagrams.json");
    let file: File = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!file.cases.is_empty());
    for case in &file.cases {
        replay(case);
    }
}

fn case() -> Case {
    let (initiator_seed, responder_seed) = (counting(0x00), counting(0x20));
    let udp = |seed, side, params| Peer {
        transport: "udp",
        psk: counting(0x80),
        ..Peer::honest(seed, side, params)
    };
    let initiator = udp(initiator_seed, 0x40, params(0xaa, false));
    let responder = udp(responder_seed, 0x60, params(0xbb, true));

    let first = initiator.datagram_init(&responder.id, &[]);
    let ip16 = IP.to_ipv6_mapped().octets();
    let token = token(&counting(TOKEN_KEY), 2 * UNIX_SECONDS, &ip16, PORT, &first);
    let retry = retry(&responder.id, &first, &token);
    let init = initiator.datagram_init(&responder.id, &token);
    let exchange = initiator.fin(responder.resp(&init));

    let given = digits(&[
        ("initiator_seed", &initiator_seed[..]),
        ("responder_seed", &responder_seed),
        ("initiator_share_secret", &initiator.secret),
        ("responder_share_secret", &responder.secret),
        ("initiator_scid", &initiator.scid),
        ("responder_scid", &responder.scid),
        ("psk", &initiator.psk),
        ("initiator_params", &initiator.params),
        ("responder_params", &responder.params),
        ("token_key", &counting(TOKEN_KEY)),
        ("unix_seconds", &UNIX_SECONDS.to_be_bytes()),
        ("initiator_ip16", &ip16),
        ("initiator_port", &PORT.to_be_bytes()),
    ]);
    let inputs =
        Inputs { name: "udp after a retry", initiator, responder, initiator_seed, responder_seed };
    let mut answers = answers(&inputs, &init, &exchange);
    answers.extend(digits(&[("first_init", &first), ("token", &token), ("retry", &retry)]));
    answers.extend(packets(&inputs, &exchange));
    Case { name: inputs.name.to_owned(), given, answers }
}

fn packets(inputs: &Inputs, exchange: &Exchange) -> BTreeMap<String, String> {
    let (i0, r0) = (Traffic::new(exchange.ts_i), Traffic::new(exchange.ts_r));
    let (i1, r1) = (i0.next_epoch(), r0.next_epoch());
    let mut all = BTreeMap::new();
    for (name, traffic) in [("i_0", &i0), ("r_0", &r0), ("i_1", &i1), ("r_1", &r1)] {
        all.insert(format!("ts_{name}"), hex(&traffic.secret()));
        all.insert(format!("key_{name}"), hex(&traffic.key));
        all.insert(format!("iv_{name}"), hex(&traffic.iv));
    }
    let mut seal = |side, traffic: [&Traffic; 2], old, dcid, sent: &[Sent]| {
        for (at, (kind, content, pad_to)) in sent.iter().enumerate() {
            let epoch = usize::from(at >= old);
            let padding = pad_to.saturating_sub(17 + content.len() + 1 + 16);
            let inner = [content, &[*kind as u8][..], &vec![0; padding]].concat();
            let number = u64::try_from(at).unwrap();
            let packet = traffic[epoch].packet(u8::try_from(epoch).unwrap(), dcid, number, &inner);
            all.insert(name(side, at, *kind), hex(&packet));
        }
    };
    seal("i", [&i0, &i1], OLD_I, &inputs.responder.scid, &FROM_I);
    seal("r", [&r0, &r1], OLD_R, &inputs.initiator.scid, &FROM_R);
    all
}

fn name(side: &str, at: usize, kind: PacketType) -> String {
    format!("packet_{side}_{at}_{kind:?}").to_lowercase()
}

/// Drives the code under test with a case's inputs and compares all it sends.
fn replay(case: &Case) {
    let given = |name: &str| unhex(&case.given[name]).unwrap();
    let seed = |name: &str| Identity::from_seed(&given(name).try_into().unwrap());
    let psk = Psk::from_bytes(&given("psk").try_into().unwrap()).ok();
    let server = seed("responder_seed");
    let initiator = initiator::Config {
        transport: Transport::Udp,
        identity: seed("initiator_seed"),
        server: server.public_key(),
        params: Params::new([0xaa; 16]),
        psk: psk.clone(),
        records: RecordLimits { records: 4, ..RecordLimits::default() },
    };
    let responder = responder::Config {
        identities: vec![(server, psk)],
        ..responder::Config::new(Transport::Udp, seed("responder_seed"), Params::new([0xbb; 16]))
    };
    let draw = |secret: &str, scid: &str| FixedRng::new(&[given(secret), given(scid)].concat());
    let now = Instant::now();
    let unix_seconds = u64::from_be_bytes(given("unix_seconds").try_into().unwrap());
    let keys = [given("token_key"), vec![0x99; 32]].concat();
    let keys = RetryKeys::new(unix_seconds, &mut FixedRng::new(&keys));
    let from = SocketAddr::from((IP, PORT));

    let mut alice =
        initiator::start(initiator, &mut draw("initiator_share_secret", "initiator_scid"));
    assert_eq!(hex(alice.init()), case.answers["first_init"]);
    let retry = keys.retry(&responder, alice.init(), from, unix_seconds).unwrap();
    assert_eq!(hex(&retry), case.answers["retry"]);
    alice.handle_retry(&retry).unwrap();
    assert_eq!(hex(alice.init()), case.answers["init"]);
    assert!(keys.is_valid(alice.init(), from, unix_seconds));

    let mut drawn = draw("responder_share_secret", "responder_scid");
    let mut server = responder::accept(&responder, alice.init(), &mut drawn).unwrap();
    assert_eq!(hex(server.resp()), case.answers["resp"]);
    let (fin, alice) = alice.handle_resp(server.resp(), now).unwrap();
    assert_eq!(hex(&fin), case.answers["fin"]);
    let server = server.handle_fin(&fin, now).unwrap().admit().unwrap();
    for session in [&alice, &server] {
        assert_eq!(hex(&session.channel_id), case.answers["th7"]);
        assert_eq!(hex(&session.exporter.export("test").unwrap()), case.answers["export_test"]);
    }
    replay_packets(case, alice, server, now);
}

fn replay_packets(
    case: &Case,
    mut alice: DatagramSession,
    mut server: DatagramSession,
    now: Instant,
) {
    let send = |side: &str,
                sent: &[Sent],
                range: std::ops::Range<usize>,
                from: &mut DatagramSession,
                to: &mut DatagramSession| {
        for at in range {
            let (kind, content, pad_to) = sent[at];
            let mut packet = Vec::new();
            let number = from.packets.seal(kind, content, pad_to, now, &mut packet).unwrap();
            assert_eq!(number, u64::try_from(at).unwrap());
            assert_eq!(hex(&packet), case.answers[&name(side, at, kind)]);
            let opened = to.packets.open(&mut packet, now).unwrap();
            assert_eq!((opened.number, opened.is_highest, opened.kind), (number, true, kind));
            assert_eq!(opened.content, content);
        }
    };
    send("i", &FROM_I, 0..OLD_I, &mut alice, &mut server);
    send("r", &FROM_R, 0..OLD_R, &mut server, &mut alice);
    send("i", &FROM_I, OLD_I..FROM_I.len(), &mut alice, &mut server);
    send("r", &FROM_R, OLD_R..FROM_R.len(), &mut server, &mut alice);
}
