"""What docs/protocol.md is written in: numbers, strings, hashes and keys; and what can go wrong."""

import hashlib
import hmac
import struct
import sys

try:
    import cryptography
except ImportError:
    sys.exit("this needs the Python package `cryptography` (python3 -m pip install cryptography)")

assert cryptography  # what uses it imports this first

ALERTS = {1: "access_denied", 2: "protocol_error", 3: "limit_exceeded"}


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


def text(value):
    return put_varint(len(value.encode())) + value.encode()


def zigzag(value):
    return put_varint(value << 1 if value >= 0 else (-value << 1) - 1)


def unzigzag(body):
    value, rest = take_varint(body)
    assert not rest, rest
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1
