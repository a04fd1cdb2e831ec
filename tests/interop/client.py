"""A client of Bailiwick in Python, written from docs/protocol.md alone: TCP, and what UDP shares.

It shows that the page is enough. It is no product: one call at a time, and Python's integers and
bytes are neither constant-time nor erased. datagrams.py has UDP.

    python3 tests/interop/client.py HOST:PORT ed25519:SERVER_KEY SEED_HEX get KEY
"""

import hashlib
import hmac
import os
import socket
import struct
import sys
import time

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
          "internal", "unavailable", "stale", "answer lost", "too large here"]
OUTCOME = ["never runs", "ran", "at work", "not known"]


class ProtocolError(Exception):
    """The server broke the protocol, or somebody tampered with the bytes."""


class Alert(Exception):
    """The server ended the connection with an alert."""


class BadParameters(ProtocolError):
    """The server is who it should be, and its parameters are malformed."""


class Truncated(Exception):
    """The stream ended without a close."""


class NoAnswer(Exception):
    """No answer came in time: whether the call ran is unknown until somebody asks."""


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
            raise BadParameters("parameters are cut short")
        kind, length = struct.unpack(">HH", data[:4])
        value, data = data[4:4 + length], data[4 + length:]
        if len(value) != length or kind <= last:
            raise BadParameters("parameters are malformed")
        found[kind], last = value, kind
    if len(found.get(5, b"")) != 16:
        raise BadParameters("no incarnation")
    return found


class Handshake:
    """The client's side: `init`, then `read_resp` gives FIN and the traffic secrets."""

    def __init__(self, server, identity, params, psk=bytes(32), share=None, scid=None,
                 transport=b"tcp"):
        self.server, self.identity, self.params, self.psk = server, identity, params, psk
        self.share = X25519PrivateKey.from_private_bytes(share or os.urandom(32))
        self.scid, self.transport = scid or os.urandom(8), transport
        self.init = self._write_init(b"")

    def _write_init(self, token):
        padding = bytes(1200 - 64 - len(token)) if self.transport == b"udp" else b""
        head = struct.pack(">BBHHH", 1, 1, 1, len(token), len(padding)) + self.scid
        head += self.share.public_key().public_bytes_raw() + token + padding
        return head + HMAC(H(b"bailiwick/1 mac1" + self.server), head)[:16]

    def read_retry(self, retry):
        """The same share and id, with the token: `init` is another then."""
        if len(retry) != 56 or retry[:8] != b"\x04\x01" + bytes(6) or retry[8:16] != self.scid:
            raise ProtocolError("RETRY does not belong to this INIT")
        mac = HMAC(H(b"bailiwick/1 retry" + self.server), retry[:40] + H(self.init))[:16]
        if not hmac.compare_digest(retry[40:], mac):
            raise ProtocolError("RETRY's MAC does not hold")
        self.init = self._write_init(retry[16:40])

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
        try:
            shared = self.share.exchange(X25519PublicKey.from_public_bytes(e_r))
        except ValueError:
            shared = bytes(32)
        if shared == bytes(32):
            raise ProtocolError("a share of low order")

        th0 = H(LP(b"bailiwick/1/sigma-i"), LP(self.transport))
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

        self.peer_scid = scid_r
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


class Call:
    """A call under its number; it may be asked for again, over any connection of its life."""

    def __init__(self, number, method, arguments, metadata):
        self.number, self.method, self.arguments = number, method, arguments
        self.metadata, self.attempt = metadata, 0

    def request(self, floor, remaining_us):
        fields = b"\x01" + put_varint(self.number) + put_varint(floor) + put_varint(self.attempt)
        fields += self.method + put_varint(remaining_us) + put_varint(0)
        fields += put_varint(len(self.metadata))
        for text in (text.encode() for entry in self.metadata for text in entry):
            fields += put_varint(len(text)) + text
        self.attempt += 1
        return LP(fields + self.arguments)


class Life:
    """What outlives connections: the incarnation, and its calls' numbers."""

    def __init__(self):
        self.incarnation, self.next_call, self.unanswered = os.urandom(16), 0, set()

    def begin(self, service, method, arguments, metadata=()):
        number, self.next_call = self.next_call, self.next_call + 1
        self.unanswered.add(number)
        return Call(number, method_id(service, method), arguments, metadata)

    @property
    def floor(self):
        return min(self.unanswered, default=self.next_call)

    def acknowledgement(self):
        """The floor, and the answered calls beyond it."""
        ranges, end = [], self.floor
        for number in sorted(self.unanswered) + [self.next_call]:
            if number > end:
                ranges.append((end, number))
            end = number + 1
        fields, end = b"\x08" + put_varint(self.floor) + put_varint(len(ranges)), self.floor
        for first, behind in ranges:
            fields += put_varint(first - end) + put_varint(behind - first)
            end = behind
        return LP(fields)


class Caller:
    """Calls over a connection, whatever carries it: one is asked for at a time."""

    def call(self, service, method, arguments, seconds=5.0, metadata=()):
        """The status's name and the body of the reply."""
        call = self.life.begin(service, method, arguments, metadata)
        answer = self.ask(call, seconds)
        self.life.unanswered.discard(call.number)
        return answer

    def ask(self, call, seconds=5.0):
        """As `call`, for one that has begun. Until it counts as answered it can be asked again."""
        until = time.monotonic() + seconds
        sent = {}
        while seconds == 0 or time.monotonic() < until:
            sent[call.attempt] = time.monotonic()
            remaining = int(max(until - time.monotonic(), 0) * 1e6) if seconds else 0
            self.send_frame(call.request(self.life.floor, remaining))
            again = self.again_at(len(sent))
            while (frame := self.read_frame(again)) is not None:
                kind, fields = frame
                if kind not in (2, 3):
                    continue
                number, fields = take_varint(fields)
                attempt, fields = take_varint(fields)
                if number == call.number and attempt in sent:
                    self.sample(time.monotonic() - sent.pop(attempt))
                if number == call.number and kind == 3:
                    again = time.monotonic() + take_varint(fields)[0] / 1000
                elif number == call.number:
                    return STATUS[fields[0]], fields[1:]
        raise NoAnswer(call.number)

    def acknowledge(self):
        self.send_frame(self.life.acknowledgement())

    def inquire(self, number):
        """What became of a call, by name."""
        fields = self._question(LP(b"\x0c" + put_varint(number)), 13,
                                lambda fields: take_varint(fields)[0] == number)
        return OUTCOME[take_varint(fields)[1][0]]

    def read_memory(self):
        """The server's first frame, which on UDP may have to be asked for."""
        fields = self._question(None, 11, lambda fields: fields[:1] == b"\1" and len(fields) == 11)
        self.memory, self.tcp_port = fields[1:9], struct.unpack(">H", fields[9:])[0]

    def ping(self, token):
        """Asks whether the server is there, and checks the answer."""
        answer = b"\x01" + put_varint(token)
        self._question(LP(b"\x09\x00" + put_varint(token)), 9, lambda fields: fields == answer)

    def _question(self, question, kind, is_answer):
        """The fields of the first frame that answers; asked again where datagrams are lost."""
        for attempt in range(8):
            if question:
                self.send_frame(question)
            again = self.again_at(attempt + 1)
            while (frame := self.read_frame(again)) is not None:
                if frame[0] == kind and is_answer(frame[1]):
                    return frame[1]
            question = question or LP(b"\x0b\x00")
        raise NoAnswer(kind)

    def read_frame(self, until):
        """The next frame of the server's; `None` if it takes longer. Questions are answered."""
        frame = self._read_frame(until)
        if frame and frame[0] == 9 and frame[1][:1] == b"\0":
            self.send_frame(LP(b"\x09\x01" + frame[1][1:]))
        return frame


class Client(Caller):
    """A connection over TCP. Calls are sent once on it."""

    def __init__(self, address, server, identity, life=None, timeout=5.0):
        self.life = life or Life()
        self.socket = socket.create_connection(address, timeout)
        handshake = Handshake(server, identity, write_params(self.life.incarnation))
        self.socket.sendall(handshake.init)
        clear = self._read(56)
        resp = clear + self._read(Handshake.resp_length(clear) - 56)
        fin, ts_i, ts_r = handshake.read_resp(resp)
        self.socket.sendall(fin)
        self.sending, self.receiving = Direction(ts_i), Direction(ts_r)
        self.stream = b""
        self.read_memory()  # only now are we connected

    def again_at(self, _sent):
        return None

    def sample(self, _rtt):
        pass

    def send_frame(self, frame):
        for start in range(0, len(frame), 16384):
            self.socket.sendall(self.sending.seal(DATA, frame[start:start + 16384]))

    def update_key(self):
        self.socket.sendall(self.sending.seal(KEY_UPDATE))

    def close(self):
        """Ends our direction in good order, and waits for the server's close."""
        self.socket.sendall(self.sending.seal(CLOSE))
        self.socket.shutdown(socket.SHUT_WR)
        while self._read_record() != CLOSE:
            pass
        self.socket.close()

    def _read_frame(self, _until=None):
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
