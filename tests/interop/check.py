"""Checks docs/protocol.md: the client that was written from it against our vectors and our server.

    python3 tests/interop/check.py

It builds nothing but `hashtable` and `bailiwick`, with cargo, and leaves nothing behind. It needs the
Python package of requirements.txt and says so if that is missing.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import client
import datagrams
from client import CLOSE, DATA, KEY_UPDATE, PING, Client, Direction, Handshake, Life
from datagrams import Datagrams, Dropped, Packets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    print(f"known answers: {len(cases)} handshake on UDP with a RETRY and its packets, byte for byte")


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
    life, text = Life(), client.text

    def request(call):
        return call.request(life.floor, 10_000_000)

    def answered(call):
        life.unanswered.discard(call.number)

    for arguments, method in [(text("hits"), "get"), (text("hits") + text("42"), "put")]:
        call = life.begin("Table", method, arguments)
        yield request(call)
        answered(call)
    twice = life.begin("Table", "increment", text("hits") + client.zigzag(-2), [("trace", "00-1")])
    yield request(twice)
    denied = life.begin("Table", "get", text("payroll"))
    yield request(denied)
    answered(denied)
    yield life.acknowledgement()
    yield request(twice)
    answered(twice)
    for number in [2, 4]:
        yield client.LP(b"\x0c" + client.put_varint(number))
    late = life.begin("Table", "get", text("hits"))
    yield request(late)
    answered(late)
    yield request(life.begin("Table", "put", text("large") + text("a" * 1300)))
    yield client.LP(b"\x09\x00\x07")


def cargo(package, *arguments):
    return ["cargo", "run", "--quiet", "--package", package, "--bin", arguments[0], "--",
            *arguments[1:]]


def check_server():
    """Calls and all that goes wrong with them, over TCP and UDP, against our server."""
    identity = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        key = folder / "server.key"
        made = cargo("bailiwick-cli", "bailiwick", "keygen", "-o", str(key))
        subprocess.run(made, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        public = identity.public_key().public_bytes_raw().hex()
        (folder / "policy.acl").write_text(
            f"principal python = ed25519:{public}\n"
            "python | table/* | read,write | allow\n"
            "python | table/payroll | * | deny\n"
        )
        serve = cargo(
            "hashtable", "hashtable", "serve",
            "--listen", "tcp://127.0.0.1:0", "--listen", "udp://127.0.0.1:0",
            "--identity", str(key), "--policy", str(folder / "policy.acl"),
            "--audit", str(folder / "audit.jsonl"),
        )
        # A group of its own: the signal must reach the server behind cargo.
        process = subprocess.Popen(
            serve, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            address = {}
            for _ in range(2):
                _ready, _connect, endpoint, _server, server = process.stdout.readline().split()
                transport, host_and_port = endpoint.split("://")
                host, port = host_and_port.rsplit(":", 1)
                address[transport] = (host, int(port))
            server = bytes.fromhex(server.removeprefix("ed25519:"))

            def tcp(**more):
                return Client(address["tcp"], server, identity, **more)

            def udp(of=Datagrams, **more):
                return of(address["udp"], server, identity, **more)

            repeat_the_vectors(tcp)
            talk(tcp)
            refuse(Client, address["tcp"], server)
            deliver("TCP", tcp, tcp)
            talk_datagrams(udp)
            refuse(Datagrams, address["udp"], server, seconds=2)
            deliver("UDP", udp, udp)
            deliver("UDP, then TCP", udp, tcp)
            too_large(udp, tcp)
            lose_datagrams(udp)
            verify = cargo("bailiwick-cli", "bailiwick", "audit", "verify",
                           str(folder / "audit.jsonl"))
            subprocess.run(verify, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            reasons = [json.loads(line).get("reason")
                       for line in (folder / "audit.jsonl").read_text().splitlines()]
            for reason in ["row", "bad_object", "unknown_method", "unknown_principal",
                           "false_retry"]:
                assert reason in reasons, (reason, reasons)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def repeat_the_vectors(connect):
    """Our server answers the conversation of docs/vectors/calls.json as it stands there."""
    connection = connect()
    steps = json.loads((ROOT / "docs/vectors/calls.json").read_text())["steps"]
    for step in steps[1:]:
        frame = bytes.fromhex(step["bytes"])
        if step["from"] == "client":
            connection.send_frame(frame)
        elif step["record"]:
            kind, fields = connection.read_frame(None)
            assert client.LP(bytes([kind]) + fields) == frame, (step["name"], kind, fields.hex())
    connection.close()
    print(f"the {len(steps)} frames of the known calls, as our server answers them")


def talk(connect):
    connection = connect()
    text, zigzag = client.text, client.zigzag

    def call(method, arguments, **more):
        return connection.call("Table", method, arguments, **more)

    assert call("get", text("nothing")) == ("ok", b"\0"), "None"
    assert call("put", text("hits") + text("42")) == ("ok", b"")
    assert call("get", text("hits")) == ("ok", b"\x01" + text("42")), "Some"
    status, body = call("increment", text("hits") + zigzag(-2), metadata=[("trace", "00-1")])
    assert (status, client.unzigzag(body)) == ("ok", 40)
    print("calls: get, put, increment")

    large = os.urandom(60_000)
    assert call("put", text("large") + client.put_varint(len(large)) + large) == ("ok", b"")
    status, body = call("get", text("large"))
    assert (status, body) == ("ok", b"\x01" + client.put_varint(len(large)) + large)
    print("a value of 60,000 bytes, over several records each way")

    assert call("increment", text("large") + zigzag(1))[0] == "app"
    status, body = call("get", text("payroll"))
    assert status == "denied" and client.take_varint(body)[1] == b""
    assert call("get", text("../payroll"))[0] == "denied"
    assert call("get", text("hits") + b"\0") == ("malformed", b"")
    assert call("get", b"\xff\xff\xff\xff\x0fx") == ("malformed", b"")
    assert call("drop", b"") == ("unimplemented", b"")
    assert call("get", text("hits"), seconds=0) == ("deadline exceeded", b"\0")
    print("refused: by a row, a bad name, trailing bytes, a false length, no such method, too late")

    connection.update_key()
    connection.ping(7)
    assert connection.receiving.epoch == 1, "the server follows a key update"
    assert call("get", text("hits")) == ("ok", b"\x01" + text("40"))
    connection.close()
    print("a key update, a ping, a close answered by a close")

    # Each ends its own connection, and that one only.
    number = client.put_varint
    get = client.method_id("Table", "get")
    late = client.LP(b"\x01\0\0\0" + get + number(1000) + b"\0\0" + text("hits"))
    rest = b"\0" + get + number(1000) + b"\0\0" + text("hits")
    far = client.LP(b"\x01" + number(65536) + b"\0" + rest)
    below = client.LP(b"\x01" + number(1) + number(2) + rest)
    many = client.LP(b"\x01\0\0\0" + get + number(1000) + b"\0" + number(65) + bytes(130))
    for wrong, frames in {
        "a call too far from the floor": far,
        "a call below its own floor": below,
        "a question about a call too far from the floor": client.LP(b"\x0c" + number(65536)),
        "65 ranges": client.LP(b"\x08\0" + number(65) + b"\1\1" * 65),
        "a length of zero": bytes(4),
        "a length above max_frame": b"\xff" * 4,
        "an unknown type": client.LP(b"\x0e"),
        "a reply to a server": client.LP(b"\x02\0\0\0"),
        "bytes behind the fields": client.LP(b"\x07\0\0"),
        "a number longer than need be": client.LP(b"\x07\x80\0"),
        "65 entries of metadata": many,
    }.items():
        ends(connect(), DATA, frames, "protocol_error", wrong)
    ends(connect(), 6, b"", "protocol_error", "an unknown record")
    ends(connect(), PING, b"x", "protocol_error", "a ping with content")
    half = connect()
    half.socket.sendall(half.sending.seal(DATA, late[:9]))
    ends(half, CLOSE, b"", "protocol_error", "a close amid a frame")
    idle = connect()
    idle.socket.sendall(b"".join(idle.sending.seal(DATA) for _ in range(31)))
    ends(idle, DATA, b"", "limit_exceeded", "the 32nd empty record")
    print("what is no frame or record: protocol_error; the 32nd empty record: limit_exceeded")


def ends(connection, kind, content, alert, wrong):
    connection.socket.sendall(connection.sending.seal(kind, content))
    try:
        while True:
            connection._read_frame()
    except client.Alert as ended:
        assert str(ended) == alert, (wrong, ended)
    connection.socket.close()


def refuse(connect, address, server, **more):
    stranger = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    try:
        connect(address, server, stranger, **more)
        raise AssertionError("a stranger was let in")
    except client.Alert as alert:
        assert str(alert) == "access_denied", alert
    try:
        other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
        connect(address, other, stranger, **more)
        raise AssertionError("the server answered for a key that it does not have")
    except (client.Truncated, ConnectionResetError):
        pass
    print("a stranger: access_denied; an INIT for another server: silence")


def number_under(connection, key):
    status, body = connection.call("Table", "increment", client.text(key) + client.zigzag(0))
    assert status == "ok", status
    return client.unzigzag(body)


def deliver(name, connect, connect_again):
    """At most once, and the same answer however often it is asked for."""
    life, text, key = Life(), client.text, f"deliver {name}"
    first = connect(life=life)
    increment = life.begin("Table", "increment", text(key) + client.zigzag(1))
    denied = life.begin("Table", "get", text("payroll"))
    one = ("ok", client.zigzag(1))
    assert first.ask(increment) == one
    assert first.ask(increment) == one, "asked again on the same connection"
    refused = first.ask(denied)
    assert refused[0] == "denied" and first.ask(denied) == refused, "with the same audit record"

    again = connect_again(life=life)
    assert again.memory == first.memory, "one memory for both connections"
    assert again.ask(increment) == one, "asked again on another connection"
    first.close()
    assert again.ask(increment) == one, "the first one is gone"
    assert again.ask(denied) == refused

    reused = client.Call(increment.number, increment.method, text(key) + client.zigzag(5), [])
    assert again.ask(reused)[0] == "denied", "the number of another call"
    assert again.inquire(increment.number) == "ran"
    assert again.inquire(denied.number) == "never runs"
    fenced = life.begin("Table", "increment", text(key) + client.zigzag(100))
    assert again.inquire(fenced.number) == "never runs"
    assert again.ask(fenced) == ("stale", b""), "a call that was asked about before it came"

    held = life.begin("Table", "increment", text(key) + client.zigzag(10))
    life.unanswered.discard(denied.number)
    life.unanswered.discard(fenced.number)
    assert again.ask(held) == ("ok", client.zigzag(11))
    again.acknowledge()
    assert again.ask(increment) == one, "the floor and the ranges leave it out"
    assert again.inquire(denied.number) == "not known"
    life.unanswered.clear()
    again.acknowledge()
    life.unanswered.add(increment.number)
    assert again.ask(increment) == ("stale", b""), "acknowledged; a floor does not fall again"
    life.unanswered.clear()
    assert number_under(again, key) == 11, "each ran once"
    other = connect_again()
    assert other.memory != again.memory, "another life"
    other.close()
    again.close()
    print(f"{name}: asked again, refused again, reused, fenced, acknowledged; each ran once")


def talk_datagrams(connect):
    connection = connect()
    text = client.text

    def call(method, arguments, **more):
        return connection.call("Table", method, arguments, **more)

    assert call("put", text("udp") + text("42")) == ("ok", b"")
    assert call("get", text("udp")) == ("ok", b"\x01" + text("42"))
    status, body = call("increment", text("udp") + client.zigzag(-2), metadata=[("trace", "00-1")])
    assert (status, client.unzigzag(body)) == ("ok", 40)
    assert call("get", text("payroll"))[0] == "denied"
    assert call("drop", b"") == ("unimplemented", b"")
    assert call("get", text("udp"), seconds=0) == ("deadline exceeded", b"\0")
    large = text("large") + client.put_varint(60_000) + os.urandom(60_000)
    assert call("put", large) == ("ok", b"")
    status, body = call("get", text("large"))
    assert status == "ok" and body == b"\x01" + large[len(text("large")):]
    print("UDP: get, put, increment, a denial; 60,000 bytes in fragments, each way")

    for epoch in [1, 2]:
        connection.packets.begin_epoch()
        assert call("get", text("udp")) == ("ok", b"\x01" + text("40"))
        assert connection.packets.receiving.epoch == epoch, "the server follows"
    connection.ping(7)
    connection.move()
    assert call("get", text("udp")) == ("ok", b"\x01" + text("40"))
    for _ in range(20):
        number_under(connection, "udp")
    assert connection.answers_to_challenges > 0, "the new address is challenged"
    connection.close()
    print("UDP: two epochs, a ping, a new address that answers its challenge, a close")

    for wrong, kind, content in [
        ("half a frame", 1, bytes(3)),
        ("a length of zero", 1, bytes(4)),
        ("an unknown type", 2, b""),
        ("a close with content", 3, b"x"),
        ("a challenge of seven bytes", 7, bytes(7)),
        ("a fragment beyond its count", 6, bytes(4) + b"\0\2\0\2x"),
        ("65,535 fragments", 6, bytes(4) + b"\0\0\xff\xffx"),
        ("an acknowledgement of nothing", 9, bytes(4) + b"\0\1\x80"),
    ]:
        broken = connect()
        broken._send(broken.packets.seal(kind, content))
        try:
            broken.ping(1)
            raise AssertionError(wrong)
        except client.Alert as ended:
            assert str(ended) == "protocol_error", (wrong, ended)
    print("UDP: what is no frame, packet or fragment ends its own session by protocol_error")


def too_large(udp, tcp):
    """An answer that is too long for UDP comes over TCP, under the same call key."""
    life, text = Life(), client.text
    # Its frame has 65,534 bytes: no more than our max_frame, and with the length field more than our
    # max_reassembly.
    value = client.put_varint(65_526) + bytes(65_526)
    session = udp(life=life)
    connection = tcp(life=life)
    assert connection.call("Table", "put", text("huge") + value) == ("ok", b"")
    get = life.begin("Table", "get", text("huge"))
    answer = session.ask(get)
    assert answer == ("too large here", b""), (answer[0], len(answer[1]))
    assert session.tcp_port == connection.socket.getpeername()[1]
    assert connection.ask(get) == ("ok", b"\x01" + value)
    session.close()
    connection.close()
    print("an answer too long for UDP, asked for over TCP")


def lose_datagrams(connect):
    """A third of all datagrams is lost each way, some come twice, some are altered."""
    seed = int.from_bytes(os.urandom(4), "big")
    dice, sessions = random.Random(seed), []

    def lose(direction, datagram):
        chance = dice.random()
        if direction == "out" and chance < 0.1:
            sessions[0].socket.send(datagram)  # twice, then
        if direction == "out" and 0.1 < chance < 0.15:
            at = dice.randrange(len(datagram))
            altered = datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1:]
            sessions[0].socket.send(altered)
        return chance > 0.7

    class Lossy(Datagrams):
        def _connect(self, *arguments):
            sessions.append(self)
            super()._connect(*arguments)

    session = connect(lose=lose, of=Lossy)
    key = client.text(f"lossy {seed}")
    answers = [session.call("Table", "increment", key + client.zigzag(1), seconds=60)
               for _ in range(60)]
    assert answers == [("ok", client.zigzag(n + 1)) for n in range(60)], f"seed {seed}"
    large = key + client.put_varint(40_000) + os.urandom(40_000)
    assert session.call("Table", "put", large, seconds=60) == ("ok", b""), f"seed {seed}"
    answer = session.call("Table", "get", key, seconds=60)
    assert answer == ("ok", b"\x01" + large[len(key):]), f"seed {seed}"
    session.close()
    print("UDP: 60 increments and 40,000 bytes each way, exact though three in ten are lost "
          f"(seed {seed})")


if __name__ == "__main__":
    check_records()
    check_packets()
    check_calls()
    check_server()
    print("docs/protocol.md holds")
