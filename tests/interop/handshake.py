"""The client's side of the handshake, on TCP and UDP."""

import hmac
import os
import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from wire import HMAC, LP, XL, BadParameters, H, ProtocolError


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
