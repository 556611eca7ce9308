"""Where the dashboard listens, and under which names a browser may reach it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from shared_models.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen.

    host: name or address; other than loopback only with `is_public_allowed`, for everyone who connects may read.
    port: 0 takes a free one.
    names: further host names under which browsers reach it, for example behind a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 8350
    is_public_allowed: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.is_loopback and not self.is_public_allowed:
            raise ConfigError(
                f"host {self.host}: the dashboard asks nobody for a password and encrypts nothing, so only loopback "
                "(127.0.0.1, ::1, localhost) is served; --insecure-public serves others all the same"
            )
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port: expected 0 to 65535, got {self.port}")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return _is_loopback(self.host)

    def accepts(self, host_header: str) -> bool:
        """Whether a request with this Host header was meant for this dashboard.

        A page of another site can point its own name at this machine (DNS rebinding) and would then be allowed to read
        the answers; its requests carry that name. An IP address in the header cannot be such a name.
        """
        name = _name_in(host_header)
        if _is_loopback(name) or name in {self.host.lower(), *(each.lower() for each in self.names)}:
            return True
        return not self.is_loopback and _is_ip_address(name)

    def listen(self) -> socket.socket:
        """A socket that listens there already.

        Raises:
            ConfigError: the address cannot be bound.
        """
        try:
            family, _, _, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(place[:2], family=family, backlog=128)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self.host}, port {self.port} ({error.strerror}): taken by another program, "
                "or no address of this machine"
            ) from error


def _name_in(host_header: str) -> str:
    text = host_header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
