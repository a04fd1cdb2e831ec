"""A client of Bailiwick over UDP, written from docs/protocol.md alone.

    python3 tests/interop/datagrams.py HOST:PORT ed25519:SERVER_KEY SEED_HEX get KEY
"""

import math
import random
import select
import socket
import struct
import sys
import time

from calls import Caller, Life
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from handshake import Handshake, write_params
from wire import ALERTS, XL, Alert, BadParameters, ProtocolError, Truncated, text

DATA, CLOSE, ALERT, PING, FRAGMENT = 1, 3, 4, 5, 6
PATH_CHALLENGE, PATH_RESPONSE, FRAGMENT_ACK = 7, 8, 9
SIZES = {CLOSE: 0, ALERT: 1, PING: 0, PATH_CHALLENGE: 8, PATH_RESPONSE: 8}

PACKET = 1200
OVERHEAD = 17 + 1 + 16
PIECE = PACKET - OVERHEAD - 8
WINDOW = 32
REPLAY_SLOTS = 1024


class Dropped(Exception):
    """A datagram that counts for nothing."""


# --- Packets ----------------------------------------------------------------------------------


class Key:
    """One direction's key of one epoch."""

    def __init__(self, secret, epoch=0):
        self.secret, self.epoch = secret, epoch
        self.aead = ChaCha20Poly1305(XL(secret, b"key", b"", 32))
        self.iv = XL(secret, b"iv", b"", 12)

    def next(self):
        return Key(XL(self.secret, b"update", b"", 32), self.epoch + 1)

    @property
    def flags(self):
        return 0x40 | (self.epoch % 4) << 4

    def nonce(self, number):
        number = bytes(4) + struct.pack(">Q", number)
        return bytes(a ^ b for a, b in zip(self.iv, number))


class Packets:
    """Both directions of a session, as the client has them."""

    def __init__(self, ts_i, ts_r, ours, theirs):
        self.sending, self.receiving, self.previous = Key(ts_i), Key(ts_r), None
        self.ours, self.theirs = ours, theirs
        self.number = 0
        self.seen, self.highest = set(), -1
        self.floor, self.lowest = 0, math.inf  # of numbers under the current key

    def seal(self, kind, content=b"", size=0):
        number, self.number = self.number, self.number + 1
        head = bytes([self.sending.flags]) + self.theirs + struct.pack(">Q", number)
        inner = content + bytes([kind])
        inner += bytes(max(size - 17 - len(inner) - 16, 0))
        return head + self.sending.aead.encrypt(self.sending.nonce(number), inner, head)

    def begin_epoch(self):
        """All later packets are sealed under the next key; the server follows."""
        if self.receiving.epoch != self.sending.epoch or self.lowest == math.inf:
            raise ValueError("nothing of the server's has opened in this epoch")
        self.sending = self.sending.next()

    def open(self, packet):
        """Type and content. Nothing changes unless the tag holds."""
        if len(packet) < OVERHEAD or packet[1:9] != self.ours:
            raise Dropped("not ours")
        number = struct.unpack(">Q", packet[9:17])[0]
        if number >= 1 << 60 or number <= self.highest - REPLAY_SLOTS or number in self.seen:
            raise Dropped("seen, or too old to tell")
        key = self._key(packet[0], number)
        try:
            inner = key.aead.decrypt(key.nonce(number), packet[17:], packet[:17])
        except InvalidTag:
            raise Dropped("it does not open") from None

        if key.epoch > self.receiving.epoch:
            self.previous, self.receiving = self.receiving, key
            self.floor, self.lowest = self.highest + 1, number
        elif key.epoch == self.receiving.epoch:
            self.lowest = min(self.lowest, number)
        else:
            self.floor = max(self.floor, number + 1)
        self.highest = max(self.highest, number)
        self.seen = {seen for seen in self.seen if seen > self.highest - REPLAY_SLOTS} | {number}

        inner = inner.rstrip(b"\0")
        if not inner:
            raise ProtocolError("a packet without a type")
        kind, content = inner[-1], inner[:-1]
        if kind not in (1, 3, 4, 5, 6, 7, 8, 9) or len(content) != SIZES.get(kind, len(content)):
            raise ProtocolError("a packet of an unknown form")
        return kind, content

    def _key(self, flags, number):
        if flags == self.receiving.flags and number >= self.floor:
            return self.receiving
        if self.sending.epoch > self.receiving.epoch and flags == self.sending.flags \
                and number > self.highest:
            return self.receiving.next()
        if self.previous and flags == self.previous.flags and number < self.lowest:
            return self.previous
        raise Dropped("a key that may not open it")


def pieces(message, frame):
    """The fragments of a frame, as contents of packets."""
    count = -(-len(frame) // PIECE)
    return [struct.pack(">IHH", message, index, count) + frame[index * PIECE:][:PIECE]
            for index in range(count)]


def bitmap(count, here):
    bits = bytearray(-(-count // 8))
    for index in here:
        bits[index // 8] |= 0x80 >> index % 8
    return bytes(bits)


# --- A session --------------------------------------------------------------------------------


class Datagrams(Caller):
    """A session over UDP. `lose(direction, datagram)` may drop some, for tests."""

    def __init__(self, address, server, identity, life=None, seconds=90.0, lose=None):
        self.life, self.lose = life or Life(), lose or (lambda _direction, _datagram: False)
        self.rtt = None
        self.frames, self.incoming, self.complete = [], {}, {}
        self.outgoing, self.next_message = {}, 0
        self.retries, self.answers_to_challenges = 0, 0  # counted for tests
        family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self._connect(server, identity, time.monotonic() + seconds)
        self.read_memory()

    # The handshake.

    def _connect(self, server, identity, give_up):
        while time.monotonic() < give_up:
            params = write_params(self.life.incarnation)
            handshake = Handshake(server, identity, params, transport=b"udp")
            resp = self._until_resp(handshake, give_up)
            if not resp:
                continue
            fin, ts_i, ts_r = resp
            self.packets = Packets(ts_i, ts_r, handshake.scid, handshake.peer_scid)
            self.max_message = struct.unpack(
                ">I", handshake.peer_params.get(3, b"\0\1\0\0"))[0]
            for _ in self._resend(fin, min(give_up, time.monotonic() + 5)):
                if self._read_packet(self.pause_ends):
                    return
        raise Truncated("nobody answers at this address who has the key")

    def _until_resp(self, handshake, give_up):
        retries, until = 0, give_up
        while True:
            init = handshake.init
            for _ in self._resend(init, until):
                while handshake.init == init \
                        and (datagram := self._receive(self.pause_ends)) is not None:
                    try:
                        if datagram[:1] == b"\x04" and retries < 4:
                            handshake.read_retry(datagram)
                            retries, self.retries = retries + 1, self.retries + 1
                            until = min(give_up, time.monotonic() + 5) if retries == 4 else until
                        elif datagram[:1] == b"\x02":
                            return handshake.read_resp(datagram)
                    except BadParameters:
                        raise
                    except ProtocolError:
                        pass  # somebody else's
                if handshake.init != init:
                    break
            else:
                return None

    def _resend(self, message, until):
        """Sends it now and after 1, 2, 4, 4 ... s; `pause_ends` says when the next is due."""
        for pause in [1, 2] + [4] * 30:
            if time.monotonic() >= until:
                return
            self._send(message)
            pause *= random.uniform(0.8, 1.2)
            self.pause_ends = min(until, time.monotonic() + pause)
            yield

    # Timing.

    def rto(self):
        if self.rtt is None:
            return 1.0
        smoothed, variation = self.rtt
        return max(smoothed + max(4 * variation, 0.001), 0.01)

    def sample(self, rtt):
        if self.rtt is None:
            self.rtt = rtt, rtt / 2
        else:
            smoothed, variation = self.rtt
            self.rtt = (7 * smoothed + rtt) / 8, (3 * variation + abs(smoothed - rtt)) / 4

    def again_at(self, sent):
        wait = min(self.rto() * 2 ** (sent - 1), max(self.rto(), 4.0))
        return time.monotonic() + wait * random.uniform(0.8, 1.2)

    # Frames.

    def send_frame(self, frame):
        if OVERHEAD + len(frame) <= PACKET:
            self._send(self.packets.seal(DATA, frame))
            return
        if len(frame) > self.max_message:
            raise ValueError("too long for UDP: take TCP")
        message, self.next_message = self.next_message, self.next_message + 1
        missing = dict(enumerate(pieces(message, frame)))
        self.outgoing[message] = missing
        for attempt in range(1, 20):
            for content in list(missing.values())[:WINDOW]:
                self._send(self.packets.seal(FRAGMENT, content))
            before, until = len(missing), self.again_at(attempt)
            while missing and time.monotonic() < until:
                self._read_packet(until)
                if before - len(missing) >= min(before, WINDOW):
                    break
            if not missing:
                break
        del self.outgoing[message]

    def _read_frame(self, until):
        while not self.frames:
            if self._read_packet(until) is None:
                return None
        frame = self.frames.pop(0)
        return frame[0], frame[1:]

    def _read_packet(self, until):
        """The type of the next packet that opens, once all is done that it asks for."""
        while (datagram := self._receive(until)) is not None:
            try:
                kind, content = self.packets.open(datagram)
            except Dropped:
                continue
            if kind == DATA:
                self._take_frames(content)
            elif kind == FRAGMENT:
                self._take_fragment(content)
            elif kind == FRAGMENT_ACK:
                self._take_ack(content)
            elif kind == PATH_CHALLENGE:
                self.answers_to_challenges += 1
                self._send(self.packets.seal(PATH_RESPONSE, content, len(datagram)))
            elif kind == CLOSE:
                raise Truncated("the server closed; answers may have been lost before")
            elif kind == ALERT:
                raise Alert(ALERTS.get(content[0], "internal_error"))
            return kind
        return None

    def _take_frames(self, content):
        while content:
            length = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else 0
            if not 1 <= length <= len(content) - 4:
                raise ProtocolError("a frame's length is out of range")
            self.frames.append(content[4:4 + length])
            content = content[4 + length:]

    def _take_fragment(self, content):
        if len(content) < 9:
            raise ProtocolError("a fragment is too short")
        message, index, count = struct.unpack(">IHH", content[:8])
        if index >= count or count > 1024:
            raise ProtocolError("a fragment is out of range")
        if message not in self.complete:
            here = self.incoming.setdefault(message, {})
            here[index] = content[8:]
            if len(here) == count:
                self._take_frames(b"".join(here[index] for index in range(count)))
                self.complete[message] = count
                del self.incoming[message]
        here = range(count) if message in self.complete else self.incoming[message]
        ack = struct.pack(">IH", message, count) + bitmap(count, here)
        self._send(self.packets.seal(FRAGMENT_ACK, ack))

    def _take_ack(self, content):
        if len(content) < 6:
            raise ProtocolError("a fragment_ack is too short")
        message, count = struct.unpack(">IH", content[:6])
        if count == 0:
            raise ProtocolError("the server does not want this message")
        missing = self.outgoing.get(message, {})
        for index in [index for index in missing if content[6 + index // 8] & 0x80 >> index % 8]:
            del missing[index]

    # Datagrams.

    def move(self):
        """Another port, as when a NAT forgets the old one."""
        address = self.socket.getpeername()
        moved = socket.socket(self.socket.family, socket.SOCK_DGRAM)
        moved.connect(address)
        self.socket.close()
        self.socket = moved

    def close(self):
        self._send(self.packets.seal(CLOSE))
        self.socket.close()

    def _send(self, datagram):
        if not self.lose("out", datagram):
            self.socket.send(datagram)

    def _receive(self, until):
        while (wait := until - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], wait)[0]:
                return None
            try:
                datagram = self.socket.recv(65535)
            except ConnectionRefusedError:
                continue  # the port is closed at the moment; the server may come back
            if not self.lose("in", datagram):
                return datagram
        return None


def main():
    if len(sys.argv) != 6 or sys.argv[4] != "get":
        sys.exit(__doc__)
    host, port = sys.argv[1].rsplit(":", 1)
    server = bytes.fromhex(sys.argv[2].removeprefix("ed25519:"))
    identity = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[3]))
    session = Datagrams((host, int(port)), server, identity)
    print(session.call("Table", "get", text(sys.argv[5])))
    session.close()


if __name__ == "__main__":
    main()
