"""Processes meet, or each says in one line why not."""

import socket
import threading
from collections.abc import Sequence

import pytest

from jaxedit.errors import UserError
from jaxedit.rollcall import meet
from tests.processes import free_port


def together(calls: Sequence[tuple[str, int, int]], seconds: float = 20) -> list[str]:
    """What each of these calls says if they are made at the same time; "" if it returns."""
    said = [""] * len(calls)

    def one(place: int) -> None:
        try:
            meet(*calls[place], seconds)
        except UserError as error:
            said[place] = str(error)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_all_meet_and_let_go_of_the_address():
    where = f"localhost:{free_port()}"
    assert together([(where, 3, 2), (where, 3, 1), (where, 3, 0)]) == ["", "", ""]
    with socket.create_server(("", int(where.split(":")[1]))):
        pass


def test_a_stranger_keeps_nobody():
    port = free_port()
    where = f"localhost:{port}"
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.extend(together([(where, 2, 0)])))
    thread.start()
    for _ in range(200):
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            break
        except OSError:
            threading.Event().wait(0.01)
    thread.join()
    assert "a process says that it is none; start each of 0 to 1 once" in said[0]


def test_too_few():
    where = f"localhost:{free_port()}"
    first, second = together([(where, 3, 0), (where, 3, 1)], seconds=0.5)
    assert first.startswith(f"--coordinator={where}: 2 of 3 processes came")
    assert "did not come in time; check the address" in second


def test_the_same_one_twice():
    where = f"localhost:{free_port()}"
    said = together([(where, 3, 0), (where, 3, 1), (where, 3, 1)], seconds=2)
    assert "says that it is 1 of 3; start each of 0 to 2 once" in said[0]


def test_an_address_that_is_taken_or_none():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"localhost:{port}: cannot listen there \(Address"):
            meet(f"localhost:{port}", 2, 0, 1.0)
    for wrong in ("node1", "node1:", ":80", "node1:0", "node1:x"):
        with pytest.raises(UserError, match=r"give host:port, such as node1:12345"):
            meet(wrong, 2, 0, 1.0)
    with pytest.raises(UserError, match=r"--process=2: must be less than --processes=2"):
        meet("node1:80", 2, 2, 1.0)
