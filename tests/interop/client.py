"""A client of Bailiwick in Python over TCP, written from docs/protocol.md alone.

It shows that the page is enough. It is no product: one call at a time, and Python's integers and
bytes are neither constant-time nor erased. datagrams.py has UDP.

    python3 tests/interop/client.py HOST:PORT ed25519:SERVER_KEY SEED_HEX get KEY
"""

import socket
import struct
import sys

from calls import Caller, Life
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from handshake import Handshake, write_params
from wire import ALERTS, XL, Alert, ProtocolError, Truncated, text

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
