"""Checks docs/protocol.md: the client that was written from it against our vectors and our server.

    python3 tests/interop/check.py

It builds nothing but `hashtable` and `bailiwick`, with cargo, and leaves nothing behind. It needs
the Python package of requirements.txt and says so if that is missing.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import delivery
import known_answers
import over_tcp
import over_udp
from client import Client
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from datagrams import Datagrams

ROOT = pathlib.Path(__file__).resolve().parents[2]

# One of each that the checks bring about.
REASONS = ["row", "bad_object", "unknown_method", "unknown_principal", "false_retry",
           "packet_replayed", "packet_not_authentic"]


def cargo(package, *arguments):
    return ["cargo", "run", "--quiet", "--package", package, "--bin", arguments[0], "--",
            *arguments[1:]]


class Server:
    """`hashtable serve` on both transports, with a client's key in its policy."""

    def __init__(self, folder, identity):
        self.folder, self.key = folder, folder / "server.key"
        made = cargo("bailiwick-cli", "bailiwick", "keygen", "-o", str(self.key))
        subprocess.run(made, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        public = identity.public_key().public_bytes_raw().hex()
        (folder / "policy.acl").write_text(
            f"principal python = ed25519:{public}\n"
            "python | table/* | read,write | allow\n"
            "python | table/payroll | * | deny\n"
        )
        self.identity, self.address = identity, {"tcp": ("127.0.0.1", 0), "udp": ("127.0.0.1", 0)}
        self.start()

    def start(self):
        """At the addresses that it had before, if it had any."""
        listen = [text for transport, (host, port) in self.address.items()
                  for text in ["--listen", f"{transport}://{host}:{port}"]]
        serve = cargo(
            "hashtable", "hashtable", "serve", *listen, "--identity", str(self.key),
            "--policy", str(self.folder / "policy.acl"),
            "--audit", str(self.folder / "audit.jsonl"),
        )
        # A group of its own: the signal must reach the server behind cargo.
        self.process = subprocess.Popen(
            serve, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        for _ in listen[::2]:
            _ready, _connect, endpoint, _server, public = self.process.stdout.readline().split()
            transport, address = endpoint.split("://")
            host, port = address.rsplit(":", 1)
            self.address[transport] = (host, int(port))
        self.public = bytes.fromhex(public.removeprefix("ed25519:"))

    def stop(self, how):
        os.killpg(self.process.pid, how)
        self.process.wait(20)

    def tcp(self, **more):
        return Client(self.address["tcp"], self.public, self.identity, **more)

    def udp(self, of=Datagrams, **more):
        return of(self.address["udp"], self.public, self.identity, **more)

    def check_denial(self, number):
        """The record that an answer names is there when the answer is, and says what was denied."""
        lines = (self.folder / "audit.jsonl").read_text().splitlines()
        record = json.loads(lines[number - 1])
        named = record["seq"], record["event"], record["reason"], record["object"]
        assert named == (number, "decision", "row", "table/payroll"), record

    def check_audit(self):
        """The log verifies and has a record of each kind of refusal."""
        log = self.folder / "audit.jsonl"
        verify = cargo("bailiwick-cli", "bailiwick", "audit", "verify", str(log))
        subprocess.run(verify, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        reasons = [json.loads(line).get("reason") for line in log.read_text().splitlines()]
        for reason in REASONS:
            assert reason in reasons, (reason, set(reasons))


def check_server():
    """Calls and all that goes wrong with them, over TCP and UDP, against our server."""
    identity = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder), identity)
        try:
            server.check_denial(known_answers.repeat_the_vectors(server.tcp))
            over_tcp.talk(server.tcp)
            over_tcp.refuse(Client, server.address["tcp"], server.public)
            delivery.deliver("TCP", server.tcp, server.tcp)
            over_udp.talk_datagrams(server.udp)
            over_tcp.refuse(Datagrams, server.address["udp"], server.public, seconds=2)
            delivery.deliver("UDP", server.udp, server.udp)
            delivery.deliver("UDP, then TCP", server.udp, server.tcp)
            delivery.too_large(server.udp, server.tcp)
            over_udp.lose_datagrams(server.udp)
            over_udp.replay(server.udp)
            delivery.restart(server)
        finally:
            server.stop(signal.SIGTERM)
        server.check_audit()


if __name__ == "__main__":
    known_answers.check_records()
    known_answers.check_packets()
    known_answers.check_calls()
    check_server()
    print("docs/protocol.md holds")
