"""Several processes meet at one address before JAX does.

JAX aborts a process, without a line for a user, where its address is taken or where not all come
in time. Here the first process listens at that address until every other one has said its number;
then it lets go of the address, and all of them go on.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

from jaxedit.errors import UserError

GO = b"go\n"
PAUSE_SECONDS = 0.2


def meet(coordinator: str, processes: int, process: int, seconds: float) -> None:
    """Returns when all processes are here.

    Args:
        coordinator: address of the first one, host:port.
        processes: how many there are.
        process: which of them this one is, from 0.
        seconds: that they may take.

    Raises:
        UserError: no such address, or the others do not come, or are not those expected.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"--coordinator={coordinator}: give host:port, such as node1:12345")
    if not process < processes:
        raise UserError(f"--process={process}: must be less than --processes={processes}")
    deadline = time.monotonic() + seconds
    if process == 0:
        _gather(coordinator, int(port), processes, deadline)
    else:
        _report(coordinator, host.strip("[]"), int(port), f"{process} of {processes}", deadline)


def _gather(coordinator: str, port: int, processes: int, deadline: float) -> None:
    """The first process: waits for all others, then lets them go."""
    expected = {f"{number} of {processes}" for number in range(1, processes)}
    with ExitStack() as opened:
        try:
            listening = opened.enter_context(_listen(port))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise UserError(
                f"--coordinator={coordinator}: cannot listen there ({why}); choose another port"
            ) from None
        here: dict[str, socket.socket] = {}
        while expected - set(here):
            try:
                listening.settimeout(max(deadline - time.monotonic(), 0.001))
                other = opened.enter_context(listening.accept()[0])
                other.settimeout(5.0)
                name = other.makefile().readline().strip()
            except TimeoutError:
                if time.monotonic() < deadline:
                    continue
                raise _too_few(coordinator, len(here) + 1, processes) from None
            except OSError:  # it has ended meanwhile
                continue
            if name in here or name not in expected:
                wrong = f"--coordinator={coordinator}: a process says that it is {name or 'none'}"
                raise UserError(f"{wrong}; start each of 0 to {processes - 1} once")
            here[name] = other
        for other in here.values():
            other.sendall(GO)


def _report(coordinator: str, host: str, port: int, name: str, deadline: float) -> None:
    """Any other process: says its number and waits for the first one's word."""
    while time.monotonic() < deadline:
        try:
            left = max(deadline - time.monotonic(), 0.001)
            with socket.create_connection((host, port), timeout=left) as first:
                first.sendall(f"{name}\n".encode())
                if first.recv(len(GO)) == GO:
                    return
        except OSError:  # it does not listen yet, or the name is not known yet
            pass
        time.sleep(PAUSE_SECONDS)
    raise UserError(
        f"--coordinator={coordinator}: the first of the processes, or some other, did not come "
        "in time; check the address, and that as many were started as --processes says"
    )


def _listen(port: int) -> socket.socket:
    """At all addresses of this machine, of both kinds where it has them."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _too_few(coordinator: str, came: int, processes: int) -> UserError:
    return UserError(
        f"--coordinator={coordinator}: {came} of {processes} processes came; start as many as "
        "--processes says, each with its own --process, within minutes of each other"
    )
