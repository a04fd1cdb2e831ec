"""Calls over TCP against our server, and clients that break the protocol."""

import os

import calls
import wire
from client import CLOSE, DATA, PING
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def talk(connect):
    connection = connect()
    text, zigzag = wire.text, wire.zigzag

    def call(method, arguments, **more):
        return connection.call("Table", method, arguments, **more)

    assert call("get", text("nothing")) == ("ok", b"\0"), "None"
    assert call("put", text("hits") + text("42")) == ("ok", b"")
    assert call("get", text("hits")) == ("ok", b"\x01" + text("42")), "Some"
    status, body = call("increment", text("hits") + zigzag(-2), metadata=[("trace", "00-1")])
    assert (status, wire.unzigzag(body)) == ("ok", 40)
    print("calls: get, put, increment")

    large = os.urandom(60_000)
    assert call("put", text("large") + wire.put_varint(len(large)) + large) == ("ok", b"")
    status, body = call("get", text("large"))
    assert (status, body) == ("ok", b"\x01" + wire.put_varint(len(large)) + large)
    print("a value of 60,000 bytes, over several records each way")

    assert call("increment", text("large") + zigzag(1))[0] == "app"
    status, body = call("get", text("payroll"))
    assert status == "denied" and wire.take_varint(body)[1] == b""
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
    number = wire.put_varint
    get = calls.method_id("Table", "get")
    late = wire.LP(b"\x01\0\0\0" + get + number(1000) + b"\0\0" + text("hits"))
    rest = b"\0" + get + number(1000) + b"\0\0" + text("hits")
    far = wire.LP(b"\x01" + number(65536) + b"\0" + rest)
    below = wire.LP(b"\x01" + number(1) + number(2) + rest)
    many = wire.LP(b"\x01\0\0\0" + get + number(1000) + b"\0" + number(65) + bytes(130))
    for wrong, frames in {
        "a call too far from the floor": far,
        "a call below its own floor": below,
        "a question about a call too far from the floor": wire.LP(b"\x0c" + number(65536)),
        "65 ranges": wire.LP(b"\x08\0" + number(65) + b"\1\1" * 65),
        "a length of zero": bytes(4),
        "a length above max_frame": b"\xff" * 4,
        "an unknown type": wire.LP(b"\x0e"),
        "a reply to a server": wire.LP(b"\x02\0\0\0"),
        "bytes behind the fields": wire.LP(b"\x07\0\0"),
        "a number longer than need be": wire.LP(b"\x07\x80\0"),
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
    except wire.Alert as ended:
        assert str(ended) == alert, (wrong, ended)
    connection.socket.close()


def refuse(connect, address, server, **more):
    stranger = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    try:
        connect(address, server, stranger, **more)
        raise AssertionError("a stranger was let in")
    except wire.Alert as alert:
        assert str(alert) == "access_denied", alert
    try:
        other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
        connect(address, other, stranger, **more)
        raise AssertionError("the server answered for a key that it does not have")
    except (wire.Truncated, ConnectionResetError):
        pass
    print("a stranger: access_denied; an INIT for another server: silence")
