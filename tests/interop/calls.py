"""Calls, whatever carries them: numbers, frames, asking again, and asking what became of them."""

import os
import struct
import time

from wire import LP, NoAnswer, fnv1a, put_varint, take_varint

STATUS = ["ok", "app", "denied", "overloaded", "deadline exceeded", "unimplemented", "malformed",
          "internal", "unavailable", "stale", "answer lost", "too large here"]
OUTCOME = ["never runs", "ran", "at work", "not known"]


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
        fields = self._question(None, 11, lambda fields: fields[:1] == b"\1" and len(fields) > 19)
        self.memory, self.tcp_port = fields[1:9], struct.unpack(">H", fields[9:11])[0]
        self.store, (self.lease, rest) = fields[11:19], take_varint(fields[19:])
        assert rest == b"", "the memory frame is used up"

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
