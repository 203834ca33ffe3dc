"""The keys of this login, by the calls that notebook users know.

    import carnet_credentials as credentials

    credentials.showRoles()
    credentials.assumeRole("arn:aws:iam::111122223333:role/analyst")
    credentials.showCurrentRole()
    credentials.getCurrentCredentials()

It asks the agent of this machine over its unix socket. The agent learns from the
kernel which account and which login are asking, so nothing here says who you are,
and nothing is kept. Attach first: carnet attach. The current role belongs to the
attachment, so it holds for every program of this login. A role that you don't have
here is an error.

One file, Python's standard library alone, Python 3.8 and later. Written by
carnet configure --for python.
"""

import http.client
import json
import os
import socket
import stat
import struct
import urllib.parse

__all__ = ["CarnetError", "UnknownRoleError", "assumeRole", "showCurrentRole", "showRoles", "getCurrentCredentials"]

SOCKET = "/run/carnet/agent.sock"
_MOST = 1 << 20


class CarnetError(Exception):
    """What the agent refused: .code names it, .mend says what helps."""

    def __init__(self, message, code="", mend=""):
        super().__init__(message + ("; " + mend if mend else ""))
        self.code = code
        self.mend = mend


class UnknownRoleError(CarnetError, ValueError):
    """The role is none that you have here."""


def assumeRole(role):
    """Make a role the current one, by its ARN or its name; an unknown one is an error."""
    matches = [arn for arn in showRoles() if role in (arn, _name(arn))]
    if len(matches) > 1:
        raise UnknownRoleError("%d of your roles here have the name %s" % (len(matches), role), "role.ambiguous", "give the ARN")
    if not matches:
        raise UnknownRoleError("you have no role %s here; you have: %s" % (role, ", ".join(showRoles()) or "none"), "role.unheld")
    after = _ask("PUT", "/v1/role", {"role": matches[0]})["roles"]
    if not any(r["arn"] == matches[0] and r.get("current") for r in after):
        raise CarnetError("the agent did not make %s the current role" % matches[0], "role.not-set", "try again")
    return True


def showCurrentRole():
    """A list with the ARN of the current role; empty where several are there and none is chosen."""
    roles = _ask("GET", "/v1/roles")["roles"]
    current = [r["arn"] for r in roles if r.get("current")]
    return current or [r["arn"] for r in roles if len(roles) == 1]


def showRoles():
    """The ARNs of the roles that you may use here."""
    return [r["arn"] for r in _ask("GET", "/v1/roles")["roles"]]


def getCurrentCredentials():
    """The keys of the current role. They end within the hour: ask again rather than keep them."""
    keys = _ask("GET", "/v1/keys")
    return {
        "aws_access_key_id": keys["access_key_id"],
        "aws_secret_access_key": keys["secret_access_key"],
        "aws_session_token": keys.get("session_token", ""),
    }


def _name(arn):
    return arn.rsplit("/", 1)[-1]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self):
        folder = os.stat(os.path.dirname(self._path) or ".")
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CarnetError("others can write in the folder of %s, so it need not be the agent's" % self._path, "agent.foreign")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        if hasattr(socket, "SO_PEERCRED"):
            size = struct.calcsize("iII")
            uid = struct.unpack("iII", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1]
            if uid not in (0, folder.st_uid, os.geteuid()):
                raise CarnetError("another account (uid %d) listens at %s" % (uid, self._path), "agent.foreign")


def _ask(method, path, document=None):
    where = os.environ.get("CARNET_AGENT_SOCKET") or SOCKET
    connection = _Connection(where)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, urllib.parse.quote(path), body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read(_MOST + 1)
    except (OSError, http.client.HTTPException) as e:
        raise CarnetError("the agent of this machine does not answer at %s: %s" % (where, e), "agent.none", "ask its administrator") from e
    finally:
        connection.close()
    try:
        if len(text) > _MOST:
            raise ValueError("it is too long")
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is no document")
    except ValueError as e:
        raise CarnetError("what answers at %s is not an agent of Carnet" % where, "agent.foreign") from e
    if answer.status != 200:
        raise CarnetError(str(found.get("detail", "refused")), str(found.get("code", "")), str(found.get("mend", "")))
    return found
