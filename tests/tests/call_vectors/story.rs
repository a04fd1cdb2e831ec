//! The conversation: calls of the hashtable, one of them repeated, one denied, one in fragments.

use super::fields::{Fields, fnv1a, hex, text, varint, zigzag};
use super::sealed::{Keys, Sealer};
use super::{ABOUT, File, Plain, Side, Step};

/// The name of the first step.
pub(crate) const FIRST: &str = "the first frame of every session";

/// What a server calls its memory of the client. A real one draws it.
pub(crate) const MEMORY: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Where it listens over TCP.
pub(crate) const TCP_PORT: u16 = 7400;

/// The number of the audit record of the one denial.
const AUDIT: u64 = 2;

const TEN_SECONDS: u64 = 10_000_000;

/// A value that makes its request longer than a packet of 1,200 bytes.
const LARGE: [u8; 1300] = [0x61; 1300];

pub(crate) fn file() -> File {
    let tcp = Keys::read("handshake.json", "tcp", None);
    let ids = ["initiator_scid", "responder_scid"];
    let udp = Keys::read("datagrams.json", "udp after a retry", Some(ids));
    let mut sealer = Sealer::new(tcp, udp);
    let steps = steps(&mut sealer);
    File { about: ABOUT.to_owned(), tcp: sealer.tcp, udp: sealer.udp, steps, others: others() }
}

fn steps(sealer: &mut Sealer) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut say = |name: &str, from: Side, frame: Fields| {
        let frame = frame.finish();
        steps.push(Step {
            name: name.to_owned(),
            from,
            fields: frame.list(),
            bytes: hex(frame.joined()),
            record: Some(sealer.record(from, frame.joined())),
            packets: sealer.frame(from, frame.joined()),
        });
        if steps.last().is_some_and(|step| step.packets.len() > 1) {
            steps.push(acknowledgement(sealer));
        }
    };
    let (client, server) = (Side::Client, Side::Server);
    let get = |call, floor, key: &str| {
        request("get", call, floor, 0, &[]).bytes("arguments", &text(key.as_bytes()), key)
    };
    let increment = |attempt| {
        request("increment", 2, 2, attempt, &[("trace", "00-1")])
            .bytes("key", &text(b"hits"), "hits")
            .bytes("by", &zigzag(-2), "-2")
    };

    say(FIRST, server, memory());
    say("get", client, get(0, 0, "hits"));
    say("get: None", server, reply(0, 0, 0, "ok").bytes("result", &[0], "None"));
    let put = |call, floor, key: &str, value: &[u8], means| {
        request("put", call, floor, 0, &[]).bytes("key", &text(key.as_bytes()), key).bytes(
            "value",
            &text(value),
            means,
        )
    };
    say("put", client, put(1, 1, "hits", b"42", "42"));
    say("put: ()", server, reply(1, 0, 0, "ok"));
    say("increment, with metadata", client, increment(0));
    say("increment: 40", server, reply(2, 0, 0, "ok").bytes("result", &zigzag(40), "40"));
    say("get, denied by the policy", client, get(3, 2, "payroll"));
    let denied = reply(3, 0, 2, "denied").number("audit record", AUDIT);
    say("get: denied", server, denied);
    let answered = Fields::frame(8, "acknowledge")
        .number("floor", 2)
        .number("ranges", 1)
        .number("gap", 1)
        .number("length", 1);
    say("calls 0, 1 and 3 are answered", client, answered);
    say("increment again: its answer was lost", client, increment(1));
    let again = reply(2, 1, 0, "ok").bytes("result", &zigzag(40), "40");
    say("increment: 40, and it ran once", server, again);
    say("what became of call 2?", client, inquire(2));
    say("call 2 ran", server, outcome(2, 1, "ran"));
    say("and of call 4, which the server never saw?", client, inquire(4));
    say("call 4 never runs", server, outcome(4, 0, "not run, and never will"));
    say("get, too late", client, get(4, 4, "hits"));
    say("get: stale", server, reply(4, 0, 9, "stale"));
    let large = put(5, 5, "large", &LARGE, "1,300 times 61");
    say("put, in fragments on UDP", client, large);
    say("put: ()", server, reply(5, 0, 0, "ok"));
    say("are you there?", client, ping(0, "question"));
    say("I am", server, ping(1, "answer"));
    steps
}

fn acknowledgement(sealer: &mut Sealer) -> Step {
    let content = Fields::default()
        .bytes("msg_id", &[0; 4], "0")
        .bytes("count", &[0, 2], "2")
        .bytes("bitmap", &[0b1100_0000], "fragments 0 and 1 are here");
    Step {
        name: "fragment_ack, only on UDP".to_owned(),
        from: Side::Server,
        fields: content.list(),
        bytes: hex(content.joined()),
        record: None,
        packets: vec![sealer.packet(Side::Server, 9, content.joined())],
    }
}

fn others() -> Vec<Plain> {
    let working =
        Fields::frame(3, "working").number("call", 6).number("attempt", 0).number("estimate", 250);
    let question = Fields::frame(11, "memory").bytes("kind", &[0], "question");
    vec![
        working.finish().plain("call 6 is at work; ask again in 250 ms", Side::Server),
        Fields::frame(7, "cancel").number("call", 6).finish().plain("cancel", Side::Client),
        question.finish().plain("which memory?", Side::Client),
        Fields::frame(10, "go away").finish().plain("no new calls", Side::Server),
        outcome(6, 2, "at work").finish().plain("call 6 is at work", Side::Server),
        outcome(1, 3, "not known").finish().plain("call 1 was acknowledged", Side::Server),
        reply(6, 0, 10, "answer lost").finish().plain("too long to be kept", Side::Server),
        reply(6, 0, 11, "too large here").finish().plain("ask over TCP", Side::Server),
    ]
}

fn memory() -> Fields {
    let port = TCP_PORT.to_string();
    Fields::frame(11, "memory")
        .bytes("kind", &[1], "answer")
        .bytes("id", &MEMORY, "random")
        .bytes("tcp port", &TCP_PORT.to_be_bytes(), &port)
        .bytes("store", &[0; 8], "no durable service")
        .number("lease", 60_000)
}

fn request(method: &str, call: u64, floor: u64, attempt: u64, metadata: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::frame(1, "request")
        .number("call", call)
        .number("floor", floor)
        .number("attempt", attempt)
        .bytes("service", &fnv1a("Table"), "fnv1a(\"Table\")")
        .bytes("method", &fnv1a(method), &format!("fnv1a(\"{method}\")"))
        .bytes("remaining", &varint(TEN_SECONDS), "10,000,000 µs")
        .number("flags", 0)
        .number("entries of metadata", metadata.len() as u64);
    for (key, value) in metadata {
        fields = fields.bytes("metadata key", &text(key.as_bytes()), key);
        fields = fields.bytes("metadata value", &text(value.as_bytes()), value);
    }
    fields
}

fn reply(call: u64, attempt: u64, status: u8, means: &str) -> Fields {
    Fields::frame(2, "reply").number("call", call).number("attempt", attempt).bytes(
        "status",
        &[status],
        means,
    )
}

fn inquire(call: u64) -> Fields {
    Fields::frame(12, "inquire").number("call", call)
}

fn outcome(call: u64, state: u8, means: &str) -> Fields {
    Fields::frame(13, "outcome").number("call", call).bytes("state", &[state], means)
}

fn ping(kind: u8, means: &str) -> Fields {
    Fields::frame(9, "ping").bytes("kind", &[kind], means).number("token", 7)
}
