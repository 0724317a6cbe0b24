"""Whose requests a page on this machine answers.

A page on this machine is reached by every site that the same browser shows: by a name of the attacker's that is made
to point here (DNS rebinding), or by a form that posts from elsewhere. Both say so in their headers, Host and Origin.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress


class Guard:
    """Judges the headers of each request to a server on address `host`; `allowed` are more names, such as a proxy's."""

    def __init__(self, host: str, allowed: Collection[str] = ()) -> None:
        self.allowed = {name.lower() for name in allowed}
        self.names = names_of(host.lower()) | self.allowed

    def problem(self, hosts: Sequence[str], origin: str | None) -> str | None:
        """Why a request with these Host headers and this Origin is refused, or None."""
        if len(hosts) != 1 or not is_ours(_name(hosts[0]), self.names):
            return "this page is not served under that name; transferkit serve --allow-host NAME allows it"
        if origin is None:
            return None
        theirs = origin.partition("://")[2]
        # Behind a proxy the Host may be another than the one in the browser's address.
        if theirs.lower() != hosts[0].lower() and _name(theirs) not in self.allowed:
            return "requests from other pages are refused"
        return None


def names_of(host: str) -> set[str]:
    """Names under which a server on address `host` is meant to be reached, besides addresses (see `is_ours`)."""
    found = {"localhost"}
    if is_loopback(host):
        return found
    if not _address(host):
        found.add(host)
    elif ipaddress.ip_address(host).is_unspecified:
        found |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    # An address as Host means that the browser was sent to it: no name was made to point here.
    return found | {"*"}


def is_ours(name: str, names: Collection[str]) -> bool:
    """Whether a request is meant for us.

    Args:
        name: the host that it names.
        names: ours; with "*" among them any address is.
    """
    if _address(name):
        return "*" in names or is_loopback(name) or name in names
    return bool(name) and name != "*" and name in names


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches that name or address."""
    return name == "localhost" or (_address(name) and ipaddress.ip_address(name).is_loopback)


def _address(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _name(host: str) -> str:
    """Without the port, and without the brackets of IPv6."""
    if host.startswith("["):
        name, closed, _ = host[1:].partition("]")
        return name.lower() if closed else ""
    return (host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host).lower()
