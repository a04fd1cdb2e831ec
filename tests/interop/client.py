"""A client of Bailiwick in Python, written from docs/protocol.md alone.

It shows that the page is enough. It is no product: one call at a time, and Python's integers and
bytes are neither constant-time nor erased.

    python3 tests/interop/client.py HOST:PORT ed25519:SERVER_KEY SEED_HEX get KEY
"""

import hashlib
import hmac
import os
import socket
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
except ImportError:
    sys.exit("this needs the Python package `cryptography` (python3 -m pip install cryptography)")

ALERTS = {1: "access_denied", 2: "protocol_error", 3: "limit_exceeded"}
STATUS = ["ok", "app", "denied", "overloaded", "deadline exceeded", "unimplemented", "malformed",
          "internal", "unavailable"]


class ProtocolError(Exception):
    """The server broke the protocol, or somebody tampered with the bytes."""


class Alert(Exception):
    """The server ended the connection with an alert."""


class Truncated(Exception):
    """The stream ended without a close."""


# --- Conventions ------------------------------------------------------------------------------


def put_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def take_varint(data):
    """The number at the front of `data`, and what is behind it."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            if (byte == 0 and index > 0) or value >= 1 << 64:
                break
            return value, data[index + 1:]
    raise ProtocolError("a varint is malformed")


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def HMAC(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def LP(part):
    return struct.pack(">I", len(part)) + part


def hkdf_expand(key, info, length):
    out, block, number = b"", b"", 1
    while len(out) < length:
        block = HMAC(key, block + info + bytes([number]))
        out, number = out + block, number + 1
    return out[:length]


def XL(key, label, context, length):
    label = b"bailiwick/1 " + label
    info = struct.pack(">HB", length, len(label)) + label + bytes([len(context)]) + context
    return hkdf_expand(key, info, length)


def fnv1a(name):
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


# --- Handshake --------------------------------------------------------------------------------


def write_params(incarnation, max_frame=65536, idle_ms=30000):
    fields = [(1, struct.pack(">I", max_frame)), (2, struct.pack(">I", idle_ms)), (5, incarnation)]
    return b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in fields)


def read_params(data):
    found, last = {}, -1
    while data:
        if len(data) < 4:
            raise ProtocolError("parameters are cut short")
        kind, length = struct.unpack(">HH", data[:4])
        value, data = data[4:4 + length], data[4 + length:]
        if len(value) != length or kind <= last:
            raise ProtocolError("parameters are malformed")
        found[kind], last = value, kind
    if len(found.get(5, b"")) != 16:
        raise ProtocolError("no incarnation")
    return found


class Handshake:
    """The client's side: `init`, then `read_resp` gives FIN and the traffic secrets."""

    def __init__(self, server, identity, params, psk=bytes(32), share=None, scid=None):
        self.server, self.identity, self.params, self.psk = server, identity, params, psk
        self.share = X25519PrivateKey.from_private_bytes(share or os.urandom(32))
        self.scid = scid or os.urandom(8)
        head = struct.pack(">BBHHH", 1, 1, 1, 0, 0) + self.scid
        head += self.share.public_key().public_bytes_raw()
        self.init = head + HMAC(H(b"bailiwick/1 mac1" + server), head)[:16]

    @staticmethod
    def resp_length(clear):
        """RESP's length, from its first 56 bytes."""
        kind, version, suite, box_len, reserved = struct.unpack(">BBHHH", clear[:8])
        if (kind, version, suite, reserved) != (2, 1, 1, 0) or box_len < 130:
            raise ProtocolError("this is not RESP")
        if 56 + box_len + 16 > 4096:
            raise ProtocolError("RESP is too long")
        return 56 + box_len + 16

    def read_resp(self, resp):
        clear, sealed = resp[:56], resp[56:]
        if len(resp) != self.resp_length(clear) or clear[8:16] != self.scid:
            raise ProtocolError("RESP does not belong to this INIT")
        scid_r, e_r = clear[16:24], clear[24:56]
        shared = self.share.exchange(X25519PublicKey.from_public_bytes(e_r))
        if shared == bytes(32):
            raise ProtocolError("a share of low order")

        th0 = H(LP(b"bailiwick/1/sigma-i"), LP(b"tcp"))
        th1 = H(th0, LP(self.init), LP(clear))
        prk = HMAC(self.psk, shared)
        hk_r, hk_i = XL(prk, b"hs key r", th1, 32), XL(prk, b"hs key i", th1, 32)
        fk_r, fk_i = XL(prk, b"fin r", th1, 32), XL(prk, b"fin i", th1, 32)

        try:
            box = ChaCha20Poly1305(hk_r).decrypt(bytes(12), sealed, th1)
        except InvalidTag:
            raise ProtocolError("RESP's box does not open") from None
        id_r, plen = box[:32], struct.unpack(">H", box[32:34])[0]
        if plen != len(box) - 130:
            raise ProtocolError("plen does not fit")
        params_r, rest = box[34:34 + plen], box[34 + plen:]
        sig_r, fin_r = rest[:64], rest[64:]
        if id_r != self.server:
            raise ProtocolError("another server than the one dialled")
        th2 = H(th1, LP(id_r), LP(params_r))
        try:
            signed = b" " * 64 + b"bailiwick/1 responder signature\0" + th2
            Ed25519PublicKey.from_public_bytes(id_r).verify(sig_r, signed)
        except InvalidSignature:
            raise ProtocolError("the server's signature does not hold") from None
        th3 = H(th2, sig_r)
        if not hmac.compare_digest(fin_r, HMAC(fk_r, th3)):
            raise ProtocolError("the server's Finished MAC does not hold")
        th4 = H(th3, fin_r)
        self.peer_params = read_params(params_r)

        id_i = self.identity.public_key().public_bytes_raw()
        fin = struct.pack(">BBHHH", 3, 1, 0, 130 + len(self.params), 0) + scid_r
        th5 = H(th4, LP(fin), LP(id_i), LP(self.params))
        sig_i = self.identity.sign(b" " * 64 + b"bailiwick/1 initiator signature\0" + th5)
        th6 = H(th5, sig_i)
        fin_i = HMAC(fk_i, th6)
        th7 = H(th6, fin_i)
        box = id_i + struct.pack(">H", len(self.params)) + self.params + sig_i + fin_i
        fin += ChaCha20Poly1305(hk_i).encrypt(bytes(12), box, th4)

        ms = XL(prk, b"master", th7, 32)
        return fin, XL(ms, b"traffic i", b"", 32), XL(ms, b"traffic r", b"", 32)


# --- Records ----------------------------------------------------------------------------------

DATA, KEY_UPDATE, CLOSE, ALERT, PING = 1, 2, 3, 4, 5


class Direction:
    """One direction's key, and the number of its next record."""

    def __init__(self, secret):
        self.epoch = 0
        self._use(secret)

    def _use(self, secret):
        self.secret, self.sequence = secret, 0
        self.aead = ChaCha20Poly1305(XL(secret, b"key", b"", 32))
        self.iv = XL(secret, b"iv", b"", 12)

    def _nonce(self):
        number = bytes(4) + struct.pack(">Q", self.sequence)
        self.sequence += 1
        return bytes(a ^ b for a, b in zip(self.iv, number))

    def seal(self, kind, content=b""):
        length = struct.pack(">I", len(content) + 1 + 16)
        record = length + self.aead.encrypt(self._nonce(), content + bytes([kind]), length)
        if kind == KEY_UPDATE:
            self.ratchet()
        return record

    def open(self, length, sealed):
        try:
            plain = self.aead.decrypt(self._nonce(), sealed, length).rstrip(b"\0")
        except InvalidTag:
            raise ProtocolError("a record does not open") from None
        if not plain:
            raise ProtocolError("a record without a type")
        if plain[-1] == KEY_UPDATE:
            self.ratchet()
        return plain[-1], plain[:-1]

    def ratchet(self):
        self.epoch += 1
        self._use(XL(self.secret, b"update", b"", 32))


# --- Frames and calls -------------------------------------------------------------------------


def method_id(service, method):
    return struct.pack(">II", fnv1a(service), fnv1a(method))


def request(call, floor, method, remaining_us, arguments, metadata=()):
    fields = b"\x01" + put_varint(call) + put_varint(floor) + put_varint(0) + method
    fields += put_varint(remaining_us) + put_varint(0) + put_varint(len(metadata))
    for text in (text.encode() for entry in metadata for text in entry):
        fields += put_varint(len(text)) + text
    return LP(fields + arguments)


class Client:
    """A connection on which one call is made at a time."""

    def __init__(self, address, server, identity, timeout=5.0):
        self.socket = socket.create_connection(address, timeout)
        handshake = Handshake(server, identity, write_params(os.urandom(16)))
        self.socket.sendall(handshake.init)
        clear = self._read(56)
        resp = clear + self._read(Handshake.resp_length(clear) - 56)
        fin, ts_i, ts_r = handshake.read_resp(resp)
        self.socket.sendall(fin)
        self.sending, self.receiving = Direction(ts_i), Direction(ts_r)
        self.max_frame = struct.unpack(">I", handshake.peer_params.get(1, b"\0\1\0\0"))[0]
        self.stream, self.next_call = b"", 0
        self._read_record()  # the server's first: only now are we connected

    def call(self, service, method, arguments, seconds=5.0, metadata=()):
        """The status's name and the body of the reply."""
        number, self.next_call = self.next_call, self.next_call + 1
        us = int(seconds * 1e6)
        frame = request(number, number, method_id(service, method), us, arguments, metadata)
        self.send_frame(frame)
        while True:
            kind, fields = self._read_frame()
            if kind == 9 and fields[:1] == b"\0":
                self.send_frame(LP(b"\x09\x01" + fields[1:]))
            if kind != 2:
                continue
            call, fields = take_varint(fields)
            _attempt, fields = take_varint(fields)
            if call == number:
                return STATUS[fields[0]], fields[1:]

    def send_frame(self, frame):
        for start in range(0, len(frame), 16384):
            self.socket.sendall(self.sending.seal(DATA, frame[start:start + 16384]))

    def ping(self, token):
        """Asks whether the server is there, and checks the answer."""
        self.send_frame(LP(b"\x09\x00" + put_varint(token)))
        while True:
            kind, fields = self._read_frame()
            if kind == 9:
                assert fields == b"\x01" + put_varint(token), fields
                return

    def update_key(self):
        self.socket.sendall(self.sending.seal(KEY_UPDATE))

    def close(self):
        """Ends our direction in good order, and waits for the server's close."""
        self.socket.sendall(self.sending.seal(CLOSE))
        self.socket.shutdown(socket.SHUT_WR)
        while self._read_record() != CLOSE:
            pass
        self.socket.close()

    def _read_frame(self):
        while True:
            if len(self.stream) >= 4:
                length = struct.unpack(">I", self.stream[:4])[0]
                if not 1 <= length <= 65536:
                    raise ProtocolError("a frame's length is out of range")
                if len(self.stream) >= 4 + length:
                    frame = self.stream[4:4 + length]
                    self.stream = self.stream[4 + length:]
                    return frame[0], frame[1:]
            if self._read_record() == CLOSE:
                raise Truncated("the server closed before it answered: the call did not run")

    def _read_record(self):
        length = self._read(4)
        size = struct.unpack(">I", length)[0]
        if not 17 <= size <= 65552:
            raise ProtocolError("a record's length is out of range")
        kind, content = self.receiving.open(length, self._read(size))
        if kind == DATA:
            self.stream += content
        elif kind == ALERT and len(content) == 1:
            raise Alert(ALERTS.get(content[0], "internal_error"))
        elif kind not in (KEY_UPDATE, CLOSE, PING) or content:
            raise ProtocolError("a record of an unknown form")
        while kind == KEY_UPDATE and self.sending.epoch < self.receiving.epoch:
            self.update_key()
        return kind

    def _read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise Truncated("the stream ended without a close")
            data += piece
        return data


# --- The table of examples/hashtable ----------------------------------------------------------


def text(value):
    return put_varint(len(value.encode())) + value.encode()


def zigzag(value):
    return put_varint(value << 1 if value >= 0 else (-value << 1) - 1)


def unzigzag(body):
    value, rest = take_varint(body)
    assert not rest, rest
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1


def main():
    if len(sys.argv) != 6 or sys.argv[4] != "get":
        sys.exit(__doc__)
    host, port = sys.argv[1].rsplit(":", 1)
    server = bytes.fromhex(sys.argv[2].removeprefix("ed25519:"))
    identity = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[3]))
    client = Client((host, int(port)), server, identity)
    print(client.call("Table", "get", text(sys.argv[5])))
    client.close()


if __name__ == "__main__":
    main()
