"""Calls over UDP against our server: fragments, epochs, a new address, loss, replay."""

import os
import random
import socket

import wire
from datagrams import Datagrams
from delivery import number_under


def talk_datagrams(connect):
    connection = connect()
    text = wire.text

    def call(method, arguments, **more):
        return connection.call("Table", method, arguments, **more)

    assert call("put", text("udp") + text("42")) == ("ok", b"")
    assert call("get", text("udp")) == ("ok", b"\x01" + text("42"))
    status, body = call("increment", text("udp") + wire.zigzag(-2), metadata=[("trace", "00-1")])
    assert (status, wire.unzigzag(body)) == ("ok", 40)
    assert call("get", text("payroll"))[0] == "denied"
    assert call("drop", b"") == ("unimplemented", b"")
    assert call("get", text("udp"), seconds=0) == ("deadline exceeded", b"\0")
    large = text("large") + wire.put_varint(60_000) + os.urandom(60_000)
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

    followed = 0
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
        followed += broken.retries
        broken._send(broken.packets.seal(kind, content))
        try:
            broken.ping(1)
            raise AssertionError(wrong)
        except wire.Alert as ended:
            assert str(ended) == "protocol_error", (wrong, ended)
    assert followed > 0, "so many INITs in a row must prove their address"
    print("UDP: what is no frame, packet or fragment ends its own session by protocol_error; "
          f"{followed} RETRYs followed")


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
    key = wire.text(f"lossy {seed}")
    answers = [session.call("Table", "increment", key + wire.zigzag(1), seconds=60)
               for _ in range(60)]
    assert answers == [("ok", wire.zigzag(n + 1)) for n in range(60)], f"seed {seed}"
    large = key + wire.put_varint(40_000) + os.urandom(40_000)
    assert session.call("Table", "put", large, seconds=60) == ("ok", b""), f"seed {seed}"
    answer = session.call("Table", "get", key, seconds=60)
    assert answer == ("ok", b"\x01" + large[len(key):]), f"seed {seed}"
    session.close()
    print("UDP: 60 increments and 40,000 bytes each way, exact though three in ten are lost "
          f"(seed {seed})")


def replay(connect):
    """Every datagram of a session once more, from where it came and from elsewhere."""
    sent = []

    def keep(direction, datagram):
        if direction == "out":
            sent.append(datagram)
        return False

    session = connect(lose=keep)
    for _ in range(20):
        increment = wire.text("replayed") + wire.zigzag(1)
        assert session.call("Table", "increment", increment)[0] == "ok"
    elsewhere = socket.socket(session.socket.family, socket.SOCK_DGRAM)
    elsewhere.connect(session.socket.getpeername())
    for datagram in list(sent):
        elsewhere.send(datagram)
        session.socket.send(datagram)
    assert number_under(session, "replayed") == 20
    session.close()
    print(f"UDP: {len(sent)} datagrams replayed, twice each: nothing ran again")
