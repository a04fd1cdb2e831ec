"""At most once, and the same answer however often and over whatever it is asked for."""

import signal

import wire
from calls import Call, Life
from wire import NoAnswer


def number_under(connection, key):
    status, body = connection.call("Table", "increment", wire.text(key) + wire.zigzag(0))
    assert status == "ok", status
    return wire.unzigzag(body)


def deliver(name, connect, connect_again):
    """At most once, and the same answer however often it is asked for."""
    life, text, key = Life(), wire.text, f"deliver {name}"
    first = connect(life=life)
    increment = life.begin("Table", "increment", text(key) + wire.zigzag(1))
    denied = life.begin("Table", "get", text("payroll"))
    one = ("ok", wire.zigzag(1))
    assert first.ask(increment) == one
    assert first.ask(increment) == one, "asked again on the same connection"
    refused = first.ask(denied)
    assert refused[0] == "denied" and first.ask(denied) == refused, "with the same audit record"

    again = connect_again(life=life)
    assert again.memory == first.memory, "one memory for both connections"
    assert again.ask(increment) == one, "asked again on another connection"
    first.close()
    assert again.ask(increment) == one, "the first one is gone"
    assert again.ask(denied) == refused

    reused = Call(increment.number, increment.method, text(key) + wire.zigzag(5), [])
    assert again.ask(reused)[0] == "denied", "the number of another call"
    assert again.inquire(increment.number) == "ran"
    assert again.inquire(denied.number) == "never runs"
    fenced = life.begin("Table", "increment", text(key) + wire.zigzag(100))
    assert again.inquire(fenced.number) == "never runs"
    assert again.ask(fenced) == ("stale", b""), "a call that was asked about before it came"

    held = life.begin("Table", "increment", text(key) + wire.zigzag(10))
    life.unanswered.discard(denied.number)
    life.unanswered.discard(fenced.number)
    assert again.ask(held) == ("ok", wire.zigzag(11))
    again.acknowledge()
    assert again.ask(increment) == one, "the floor and the ranges leave it out"
    assert again.inquire(denied.number) == "not known"
    life.unanswered.clear()
    again.acknowledge()
    life.unanswered.add(increment.number)
    assert again.ask(increment) == ("stale", b""), "acknowledged; a floor does not fall again"
    life.unanswered.clear()
    assert number_under(again, key) == 11, "each ran once"
    other = connect_again()
    assert other.memory != again.memory, "another life"
    other.close()
    again.close()
    print(f"{name}: asked again, refused again, reused, fenced, acknowledged; each ran once")


def too_large(udp, tcp):
    """An answer that is too long for UDP comes over TCP, under the same call key."""
    life, text = Life(), wire.text
    # Its frame has 65,534 bytes: no more than our max_frame, and with the length field more than
    # our max_reassembly.
    value = wire.put_varint(65_526) + bytes(65_526)
    session = udp(life=life)
    connection = tcp(life=life)
    assert connection.call("Table", "put", text("huge") + value) == ("ok", b"")
    get = life.begin("Table", "get", text("huge"))
    answer = session.ask(get)
    assert answer == ("too large here", b""), (answer[0], len(answer[1]))
    assert session.tcp_port == connection.socket.getpeername()[1]
    assert connection.ask(get) == ("ok", b"\x01" + value)
    session.close()
    connection.close()
    print("an answer too long for UDP, asked for over TCP")


def restart(server):
    """The server is killed and started again: that shows, and old packets do not open."""
    life, increment = Life(), wire.text("restart") + wire.zigzag(1)
    session, connection = server.udp(life=life), server.tcp(life=life)
    before = session.memory
    call = life.begin("Table", "increment", increment)
    assert session.ask(call) == ("ok", wire.zigzag(1))
    server.stop(signal.SIGKILL)
    server.start()
    try:
        session.ask(life.begin("Table", "increment", increment), seconds=0.5)
        raise AssertionError("a packet of the server's former life was opened")
    except NoAnswer:
        pass
    again = server.udp(life=life)
    assert again.memory != before, "it does not know what it ran: such calls must not be sent again"
    other = server.tcp(life=life)
    assert other.memory == again.memory
    for ended in [connection, other]:
        ended.socket.close()
    again.close()
    print("a server that was restarted has another memory, and is silent to old packets")
