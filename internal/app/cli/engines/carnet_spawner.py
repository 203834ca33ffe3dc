"""JupyterHub: the notebooks of each person read S3 with that person's own keys.

For a hub that starts notebooks on its own machine, under an account for each person
(LocalProcessSpawner), where Carnet's agent runs too. In jupyterhub_config.py:

    import sys
    sys.path.insert(0, "/etc/jupyterhub")
    import carnet_spawner

    carnet_spawner.setup(
        c,
        server="https://carnet.example.com",
        cluster="notebooks",
        node="notebooks-1",
        client_id="spn_ID",
        client_secret_file="/etc/jupyterhub/carnet-secret",
        s3="https://s3.example.com:8481",
        sts="https://s3.example.com:8481",
        region="us-east-1",
    )

Before a person's notebooks start, they get a control group of their own, and the hub
asks Carnet to attach that group and account to the person: as the service principal
client_id, which has to be an orchestrator of the cluster. The person has to be signed
in to Carnet, or to have delegated to the cluster. When they are not, nothing starts and
the reason is shown. No key passes through the hub, and nothing in the environment of
the notebooks is a secret: the agent learns from the kernel who is asking.

The attachment ends with the last process of the group. A kernel that restarts is in the
group again.

One file, Python's standard library and JupyterHub. Written by
carnet configure --for jupyterhub.
"""

import asyncio
import base64
import hashlib
import inspect
import json
import os
import pwd
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from tornado import web

_MOST = 1 << 20
_REACH = 60  # seconds that a group is held open for its first process


def setup(c, **settings):
    """Have a hub's configuration attach everybody's notebooks."""
    carnet = Carnet(**settings)
    c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
    c.Spawner.pre_spawn_hook = carnet.pre_spawn
    c.Spawner.post_stop_hook = carnet.post_stop
    # Over TCP everybody on the machine can listen to what a kernel prints.
    c.Spawner.args.append("--KernelManager.transport=ipc")
    return carnet


class Refused(Exception):
    """What Carnet or this machine refused, in a sentence for the person."""


class Carnet:
    def __init__(
        self,
        server,
        cluster,
        client_id,
        client_secret_file,
        node=None,
        s3="",
        sts="",
        region="us-east-1",
        ca_file=None,
        role="",
        person=None,
        account=None,
        container="http://127.0.0.1:1018/v1/credentials",
        people_folder="/run/carnet/people",
    ):
        """person(spawner) names the person of a hub user to Carnet: a user name, or
        psn_…; by default the hub user's own name. account(spawner) names their account
        on this machine; by default the same. role is the ARN or name of the role that
        is chosen at first; empty: none, so that people choose."""
        if not server.startswith("https://") and urllib.parse.urlsplit(server).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("server has to be https://…: the hub's secret goes there")
        self.server = server.rstrip("/")
        self.cluster, self.node, self.role = cluster, node or socket.gethostname(), role
        self.client_id, self.client_secret_file = client_id, client_secret_file
        self.person = person or (lambda spawner: spawner.user.name)
        self.account = account or (lambda spawner: spawner.user.name)
        self.container, self.people_folder = container, people_folder
        self.s3, self.sts, self.region, self.ca_file = s3, sts, region, ca_file
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self._tls), _NoRedirect()).open
        self._held = {}

    def __deepcopy__(self, memo):
        return self  # each spawner copies its settings; the groups are those of the hub

    async def pre_spawn(self, spawner):
        """JupyterHub's pre_spawn_hook."""
        try:
            found = pwd.getpwnam(await _given(self.account, spawner))
            if found.pw_uid == 0:
                raise Refused("nobody's notebooks run as root")
            person = await _given(self.person, spawner)
            group = self._group(found.pw_uid, spawner)
            await asyncio.to_thread(self._begin, group, found, person)
        except KeyError as e:
            raise web.HTTPError(403, "There is no account of yours on this machine") from e
        except Refused as e:
            spawner.log.warning("carnet: no notebooks for %s: %s", spawner.user.name, e)
            raise web.HTTPError(403, str(e)) from e
        as_account = spawner.make_preexec_fn(found.pw_name)

        def in_group():
            _join(group)
            as_account()

        spawner.popen_kwargs = {**spawner.popen_kwargs, "preexec_fn": in_group}
        spawner.environment = {**spawner.environment, **self.variables(found.pw_uid)}

    async def post_stop(self, spawner):
        """JupyterHub's post_stop_hook: end what is left, and the group with it."""
        try:
            uid = pwd.getpwnam(await _given(self.account, spawner)).pw_uid
        except KeyError:
            return
        await asyncio.to_thread(self._end, self._group(uid, spawner))

    def variables(self, uid):
        """The environment by which AWS SDKs ask the agent. None of it is a secret."""
        given = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.container,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "%s/%d/token" % (self.people_folder, uid),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.s3,
            "AWS_ENDPOINT_URL_STS": self.sts,
            "AWS_CA_BUNDLE": (self.ca_file or "") if self.s3.startswith("https://") else "",
        }
        return {name: value for name, value in given.items() if value}

    def _group(self, uid, spawner):
        """The folder of the control group of one server of one person."""
        which = hashlib.sha256(("%s/%s" % (spawner.user.name, spawner.name)).encode()).hexdigest()[:12]
        mount, own = _control_groups()
        return os.path.join(mount, own.strip("/"), "carnet-%d-%s" % (uid, which))

    def _begin(self, group, account, person):
        self._end(group)  # what an earlier hub may have left
        try:
            os.mkdir(group, 0o755)
        except OSError as e:
            raise Refused("The hub can't make control groups (%s): it has to run as root, in a unit with Delegate=yes" % e) from e
        # A group without processes counts as ended: hold it until the notebooks are in.
        self._held[group] = subprocess.Popen(
            ["sleep", str(_REACH)], preexec_fn=lambda: _join(group), start_new_session=True, stdin=subprocess.DEVNULL, env={"PATH": os.defpath}
        )
        try:
            self._attach(group, account, person)
        except Exception:
            self._end(group)
            raise

    def _attach(self, group, account, person):
        mount, _ = _control_groups()
        scope = group[len(mount):] or "/"
        self._ask(
            "/api/v1/clusters/%s/attachments" % urllib.parse.quote(self.cluster, safe=""),
            json.dumps(
                {
                    "node": self.node,
                    "person": person,
                    "uid": account.pw_uid,
                    "account": account.pw_name,
                    "scope": scope,
                    "scope_id": str(os.stat(group).st_ino),
                    "role": self.role,
                }
            ).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer " + self._token()},
        )

    def _token(self):
        with open(self.client_secret_file, encoding="utf-8") as f:
            if os.fstat(f.fileno()).st_mode & 0o077:
                raise Refused("%s can be read by others: chmod 600 it" % self.client_secret_file)
            secret = f.read().strip()
        proof = "%s:%s" % (urllib.parse.quote(self.client_id, safe=""), urllib.parse.quote(secret, safe=""))
        found = self._ask(
            "/oidc/v1/token",
            urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "all-apis"}).encode(),
            {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic " + base64.b64encode(proof.encode()).decode()},
        )
        return found["access_token"]

    def _ask(self, path, body, headers):
        request = urllib.request.Request(self.server + path, body, headers, method="POST")
        try:
            with self._open(request, timeout=30) as answer:
                return json.loads(answer.read(_MOST))
        except urllib.error.HTTPError as e:
            raise Refused(_why(e)) from e
        except (OSError, ValueError) as e:
            raise Refused("Carnet can't be reached at %s: %s" % (self.server, e)) from e

    def _end(self, group):
        """Kill what is in a group, and remove it."""
        held = self._held.pop(group, None)
        for _ in range(200):
            try:
                with open(os.path.join(group, "cgroup.kill"), "w", encoding="ascii") as f:
                    f.write("1")
                if held is not None:
                    held.wait()
                os.rmdir(group)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.05)  # what was killed leaves once it was waited for


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The hub's secret goes to the server that was named, and nowhere else."""

    def redirect_request(self, *args):
        return None


def _why(e):
    """The sentence of a refusal."""
    try:
        found = json.loads(e.read(_MOST))
    except ValueError:
        found = {}
    text = found.get("detail") or found.get("error_description") or "Carnet refused with status %d" % e.code
    return text + ("; " + found["mend"] if found.get("mend") else "")


async def _given(of, spawner):
    value = of(spawner)
    return await value if inspect.isawaitable(value) else value


def _join(group):
    """Put the calling process into a group."""
    with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
        f.write("0")


def _control_groups():
    """Where control groups of version 2 are, and which one the hub is in."""
    mount = own = None
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 ") and before.split()[3] == "/":
                mount = before.split()[4]
                break
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        for line in f:
            if line.startswith("0::"):
                own = line[3:].strip()
    if mount is None or own is None:
        raise Refused("This machine has no control groups of version 2, so nobody's notebooks can be told apart")
    return mount, own
