"""Who is told of incidents: a Slack-compatible webhook, a mailbox, and always the log.

A message is sent or an error is raised, within SEND_S_MAX; whoever calls tries again. Addresses are
secrets (a webhook's is its password): they stand in no log, no error and no table.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from lake.errors import BadInput, Refused, Unavailable
from lake.hot.incidents import Notice
from lake.settings import OFF, Settings, variable

LOG = logging.getLogger("ticklake.alerts")

SEND_S_MAX = 5.0
FAULT_CHARS_MAX = 200
SMTP_PORT, SMTPS_PORT = 25, 465
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Receiver(Protocol):
    """One who is told."""

    @property
    def name(self) -> str:
        """Return the kind of receiver, as notices name it."""

    def send(self, notices: Sequence[Notice]) -> None:
        """Send one message of all of them; raises Unavailable, or Refused by who answers."""


@dataclass(frozen=True, slots=True)
class LogReceiver:
    """The log of the process; it has no end that could be away."""

    name: str = "log"

    def send(self, notices: Sequence[Notice]) -> None:
        """Write a line for each."""
        for each in notices:
            LOG.warning("%s", each.line())


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """An address that takes Slack's JSON: {"text": ...}; Mattermost and Rocket.Chat do too."""

    url: str = field(repr=False)
    name: str = "webhook"

    def send(self, notices: Sequence[Notice]) -> None:
        """Post it; anything but 2xx is a fault, redirects are not followed."""
        text = "\n".join(escaped(each.line()) for each in notices)
        try:
            status = asyncio.run(self._post({"text": text}))
        except TimeoutError as error:
            fault = f"no answer within {SEND_S_MAX:g} s"
            raise Unavailable(self.name, fault, "is it up?") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fault = type(error).__name__  # its text may hold the address
            raise Unavailable(self.name, fault, "is it up, is its address right?") from None
        if not httpx.codes.is_success(status):
            raise Refused(self.name, f"answered HTTP {status}", "is its address right?")

    async def _post(self, document: Mapping[str, str]) -> int:
        # httpx says the address of every request at level INFO
        logging.getLogger("httpx").setLevel(logging.WARNING)
        async with (
            asyncio.timeout(SEND_S_MAX),
            httpx.AsyncClient(timeout=SEND_S_MAX) as client,
            client.stream("POST", self.url, json=document) as answer,
        ):
            return answer.status_code


@dataclass(frozen=True, slots=True)
class EmailReceiver:
    """A mailbox, by an SMTP server: smtp:// (TLS where it is offered) or smtps://."""

    server: SplitResult = field(repr=False)
    sender: str
    to: str
    name: str = "email"

    def send(self, notices: Sequence[Notice]) -> None:
        """Send one mail; the same notices have the same Message-ID, so a mailbox may know them."""
        try:
            with self._connected() as smtp:
                self._log_in(smtp)
                smtp.send_message(self._mail(notices))
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            raise Refused(self.name, "the server refuses the login", "see the password") from error
        except smtplib.SMTPResponseException as error:
            raise Refused(
                self.name, f"the server answered {error.smtp_code}", "see its log"
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise Refused(self.name, "the server refuses the mailbox", "see its name") from error
        except (OSError, smtplib.SMTPException) as error:
            fault = getattr(error, "strerror", None) or type(error).__name__
            raise Unavailable(self.name, fault, "is its server up?") from error

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        host, tls = self.server.hostname or "", ssl.create_default_context()
        if self.server.scheme == "smtps":
            port = self.server.port or SMTPS_PORT
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SEND_S_MAX, context=tls)
        else:
            smtp = smtplib.SMTP(host, self.server.port or SMTP_PORT, timeout=SEND_S_MAX)
        # a server that answers a byte at a time is cut off too
        timer = threading.Timer(SEND_S_MAX, _cut, (smtp,))
        timer.daemon = True
        timer.start()
        try:
            smtp.ehlo_or_helo_if_needed()
            if self.server.scheme == "smtp" and smtp.has_extn("starttls"):
                smtp.starttls(context=tls)
            yield smtp
        finally:
            timer.cancel()
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        if self.server.username is None:
            return
        if self.server.hostname not in LOOPBACK and not isinstance(smtp.sock, ssl.SSLSocket):
            raise Refused(self.name, "its server offers no TLS", "the password stays here")
        smtp.login(unquote(self.server.username), unquote(self.server.password or ""))

    def _mail(self, notices: Sequence[Notice]) -> EmailMessage:
        mail = EmailMessage()
        more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
        mail["Subject"] = f"ticklake: {_flat(notices[0].line().partition(': ')[0])}{more}"
        mail["From"], mail["To"] = self.sender, self.to
        named = ",".join(f"{each.incident_id}-{each.word}-{each.opened_at}" for each in notices)
        mail["Message-ID"] = f"<{hashlib.sha256(named.encode()).hexdigest()[:32]}@ticklake>"
        mail.set_content("\n".join(each.line() for each in notices) + "\n")
        return mail


def receivers_of(settings: Settings, state: Mapping[str, Any]) -> list[Receiver]:
    """Return who is told: by the settings, else as at the last `up` (the home's state).

    Raises BadInput for an address that can't be one, without saying it.
    """
    said = told(settings, state)
    found: list[Receiver] = [LogReceiver()]
    if said["webhook_url"]:
        url = _address(said["webhook_url"], "alert_webhook_url", ("http", "https"))
        found.append(WebhookReceiver(url.geturl()))
    if said["smtp_url"]:
        server = _address(said["smtp_url"], "alert_smtp_url", ("smtp", "smtps"))
        if not said["email_to"]:
            raise BadInput(variable("alert_email_to"), "is not set", "name a mailbox")
        sender = said["email_from"] or said["email_to"]
        found.append(EmailReceiver(server, sender, said["email_to"]))
    return found


def told(settings: Settings, state: Mapping[str, Any]) -> dict[str, str]:
    """Return what is set of receivers; `off` unsets, nothing leaves it as the state has it."""
    known = state.get("alerts", {})
    given = {name: getattr(settings, f"alert_{name}") for name in PARTS}
    return {
        name: "" if value == OFF else value or str(known.get(name, ""))
        for name, value in given.items()
    }


PARTS = ("webhook_url", "smtp_url", "email_from", "email_to")


def escaped(text: str) -> str:
    """Return text as Slack wants it: three characters have a meaning there."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _address(url: str, setting: str, schemes: tuple[str, ...]) -> SplitResult:
    fault, remedy = "is no address", f"as {' or '.join(f'{each}://…' for each in schemes)}"
    try:
        found = urlsplit(url)
        if found.scheme in schemes and found.hostname and found.port != 0:
            return found
    except ValueError:
        pass
    raise BadInput(variable(setting), fault, remedy)


def _flat(text: str) -> str:
    return " ".join(text.split())[:FAULT_CHARS_MAX]


def _cut(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        with suppress(OSError):
            smtp.sock.shutdown(socket.SHUT_RDWR)
