"""The client against the known answers: every byte that it writes, and what it makes of ours."""

import json
import pathlib

import datagrams
import wire
from calls import Life
from client import CLOSE, DATA, KEY_UPDATE, PING, Direction
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from datagrams import Dropped, Packets
from handshake import Handshake

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_case(case):
    return ({name: bytes.fromhex(value) for name, value in case["given"].items()},
            {name: bytes.fromhex(value) for name, value in case["answers"].items()})


def handshake_of(given, answers, transport):
    return Handshake(
        answers["responder_public_key"],
        Ed25519PrivateKey.from_private_bytes(given["initiator_seed"]),
        given["initiator_params"],
        given["psk"],
        given["initiator_share_secret"],
        given["initiator_scid"],
        transport,
    )


def check_records():
    """FIN and the first records come out byte for byte as in the known answers."""
    cases = json.loads((ROOT / "crypto/vectors/handshake.json").read_text())["cases"]
    assert cases
    for case in cases:
        given, answers = read_case(case)
        handshake = handshake_of(given, answers, b"tcp")
        assert handshake.init == answers["init"]
        fin, ts_i, ts_r = handshake.read_resp(answers["resp"])
        assert (fin, ts_i, ts_r) == (answers["fin"], answers["ts_i_0"], answers["ts_r_0"])
        ours, theirs = Direction(ts_i), Direction(ts_r)
        assert ours.seal(DATA, b"hello") == answers["record_i_1_data"]
        assert ours.seal(DATA) == answers["record_i_2_data_empty"]
        assert ours.seal(KEY_UPDATE) == answers["record_i_3_key_update"]
        assert ours.seal(DATA, b"after the key update") == answers["record_i_4_data"]
        for name, kind in [("record_r_1_ping", PING), ("record_r_2_key_update", KEY_UPDATE),
                           ("record_r_3_data", DATA), ("record_r_4_close", CLOSE)]:
            assert theirs.open(answers[name][:4], answers[name][4:])[0] == kind
    print(f"known answers: {len(cases)} handshakes with their records, byte for byte")


def check_packets():
    """The same on UDP: a RETRY is followed, and an epoch begun."""
    cases = json.loads((ROOT / "crypto/vectors/datagrams.json").read_text())["cases"]
    assert cases
    for case in cases:
        given, answers = read_case(case)
        handshake = handshake_of(given, answers, b"udp")
        assert handshake.init == answers["first_init"]
        handshake.read_retry(answers["retry"])
        assert handshake.init == answers["init"]
        fin, ts_i, ts_r = handshake.read_resp(answers["resp"])
        assert (fin, ts_i, ts_r) == (answers["fin"], answers["ts_i_0"], answers["ts_r_0"])
        packets = Packets(ts_i, ts_r, handshake.scid, handshake.peer_scid)

        def sent(name, kind, content, size=0):
            assert packets.seal(kind, content, size) == answers[name], name

        def comes(name, *expected):
            assert packets.open(answers[name]) == expected, name
            try:
                packets.open(answers[name])
                raise AssertionError("a packet opened twice")
            except Dropped:
                pass

        sent("packet_i_0_data", 1, b"whole frames")
        sent("packet_i_1_fragment", 6, bytes.fromhex("0000000700000002") + b"a piece")
        sent("packet_i_2_fragmentack", 9, bytes.fromhex("000000030009ff80"))
        sent("packet_i_3_pathchallenge", 7, b"8 random", 1200)
        comes("packet_r_1_pathresponse", 8, b"8 random")
        comes("packet_r_0_ping", 5, b"")
        packets.begin_epoch()
        sent("packet_i_4_data", 1, b"after the key update")
        sent("packet_i_5_close", 3, b"")
        comes("packet_r_2_data", 1, b"answered under the new key")
        comes("packet_r_3_alert", 4, b"\x04")
    print(f"known answers: {len(cases)} handshake on UDP with a RETRY and its packets, "
          "byte for byte")


def check_calls():
    """Whole calls, in records and in packets."""
    file = json.loads((ROOT / "docs/vectors/calls.json").read_text())
    sides = {}
    for transport in ["tcp", "udp"]:
        named = file[transport]
        cases = json.loads((ROOT / named["handshake"]).read_text())["cases"]
        sides[transport] = read_case(next(c for c in cases if c["name"] == named["case"]))
    tcp, (given, udp) = sides["tcp"][1], sides["udp"]
    ours, theirs = Direction(tcp["ts_i_0"]), Direction(tcp["ts_r_0"])
    packets = Packets(udp["ts_i_0"], udp["ts_r_0"], given["initiator_scid"],
                      given["responder_scid"])
    written = our_conversation()
    for step in file["steps"]:
        content = bytes.fromhex(step["bytes"])
        assert content == b"".join(bytes.fromhex(field["bytes"]) for field in step["fields"])
        sealed = [bytes.fromhex(packet["bytes"]) for packet in step["packets"]]
        if step["from"] == "client":
            assert next(written) == content, step["name"]
            assert ours.seal(DATA, content).hex() == step["record"]["bytes"], step["name"]
            whole = [(1, content)] if len(sealed) == 1 else \
                [(6, piece) for piece in datagrams.pieces(0, content)]
            assert [packets.seal(*packet) for packet in whole] == sealed, step["name"]
            continue
        if step["record"]:
            record = bytes.fromhex(step["record"]["bytes"])
            assert theirs.open(record[:4], record[4:]) == (DATA, content), step["name"]
        kind = DATA if step["record"] else datagrams.FRAGMENT_ACK
        assert [packets.open(packet) for packet in sealed] == [(kind, content)], step["name"]
    assert next(written, None) is None
    print(f"known answers: {len(file['steps'])} frames of calls, field by field, in records and "
          "packets")


def our_conversation():
    """The frames that the client sends in docs/vectors/calls.json, in its own words."""
    life, text = Life(), wire.text

    def request(call):
        return call.request(life.floor, 10_000_000)

    def answered(call):
        life.unanswered.discard(call.number)

    for arguments, method in [(text("hits"), "get"), (text("hits") + text("42"), "put")]:
        call = life.begin("Table", method, arguments)
        yield request(call)
        answered(call)
    twice = life.begin("Table", "increment", text("hits") + wire.zigzag(-2), [("trace", "00-1")])
    yield request(twice)
    denied = life.begin("Table", "get", text("payroll"))
    yield request(denied)
    answered(denied)
    yield life.acknowledgement()
    yield request(twice)
    answered(twice)
    for number in [2, 4]:
        yield wire.LP(b"\x0c" + wire.put_varint(number))
    late = life.begin("Table", "get", text("hits"))
    yield request(late)
    answered(late)
    yield request(life.begin("Table", "put", text("large") + text("a" * 1300)))
    yield wire.LP(b"\x09\x00\x07")


def repeat_the_vectors(connect):
    """Our server answers the conversation of docs/vectors/calls.json as it stands there, but for the
    number of the audit's record, which depends on what the log held before. Returns that number."""
    connection = connect()
    steps = json.loads((ROOT / "docs/vectors/calls.json").read_text())["steps"]
    recorded = None
    for step in steps[1:]:
        frame = bytes.fromhex(step["bytes"])
        if step["from"] == "client":
            connection.send_frame(frame)
        elif step["record"]:
            kind, fields = connection.read_frame(None)
            last = step["fields"][-1]
            if last["name"] == "audit record":
                frame = frame[4:-len(last["bytes"]) // 2]
                whole, (recorded, rest) = bytes([kind]) + fields, wire.take_varint(fields[3:])
                assert (whole[:len(frame)], rest) == (frame, b""), (step["name"], whole.hex())
                continue
            assert wire.LP(bytes([kind]) + fields) == frame, (step["name"], kind, fields.hex())
    connection.close()
    print(f"the {len(steps)} frames of the known calls, as our server answers them")
    return recorded
