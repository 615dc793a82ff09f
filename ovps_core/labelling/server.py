"""Label Studio's server: its address and key, and one of our own on this machine with SQLite."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovps_core.errors import MissingDependencyError, UsageError
from ovps_core.structures.cache_folder import home_folder
from ovps_core.structures.requirements import require_packages
from ovps_core.structures.whole_files import write_json

URL_VARIABLE, KEY_VARIABLE = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
"""Environment variables that name a server, the same that Label Studio's SDK reads."""

LOG = "server.log"
"""File in the folder of our own server with all that Label Studio prints."""

_ACCESS = "ovps_access.json"
_USER = "ovps@localhost.local"
_PAGE = 100  # tasks in one answer
_DOTS = 2  # in a JSON web token; a legacy token has none


@dataclass(frozen=True)
class Server:
    """Access to a server.

    Attributes:
        url: "http://localhost:8080", without a slash at the end.
        key: legacy token or personal access token of a user.
        user, password: to log in with a browser; empty for a server that we did not start.
    """

    url: str
    key: str
    user: str = ""
    password: str = ""

    @property
    def fingerprint(self) -> str:
        """Name of our own server that no port changes; "" for a server that we did not start."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16] if self.password else ""

    def is_up(self) -> bool:
        """True if the server answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return True
        except OSError:
            return False

    def client(self) -> Any:
        """A client of the SDK.

        Raises:
            MissingDependencyError: the SDK is not installed.
        """
        require_packages("label_studio_sdk", extra="label")
        from label_studio_sdk import LabelStudio

        return LabelStudio(base_url=self.url, api_key=self.key, timeout=120)

    def has_project(self, number: int) -> bool:
        """True if the server has a project that the user may see."""
        from label_studio_sdk.core.api_error import ApiError

        try:
            self.client().projects.get(id=number)
        except ApiError as error:
            if error.status_code in (403, 404):
                return False
            raise
        return True

    def tasks(self, project: int) -> Iterator[Any]:
        """Every task of a project, with its annotations and predictions.

        The SDK's own iterator asks for pages until one is missing, and the server logs that as a fault.
        """
        client, read, number = self.client(), 0, 1
        while True:
            page = client.tasks.list(project=project, page=number, page_size=_PAGE, fields="all")
            yield from page.items
            read, number = read + len(page.items), number + 1
            if not page.items or read >= page.response.total:
                return

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call what the SDK has no function for; the answer's JSON.

        Raises:
            UsageError: the server cannot be reached, or refuses the call.
            MissingDependencyError: requests is not installed.
        """
        headers = {"Authorization": f"Token {self.key}"}
        if self.key.count(".") == _DOTS:  # a personal access token gives access for some minutes
            given = self._call("POST", "/api/token/refresh/", json={"refresh": self.key})
            headers = {"Authorization": f"Bearer {given['access']}"}
        return self._call(method, path, headers=headers, **options)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        require_packages("requests", extra="label")
        import requests

        try:
            answer = requests.request(method, f"{self.url}{path}", timeout=120, **options)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise UsageError(f"Label Studio at {self.url} does not do {path}: {error}") from error


def data_folder(given: Path | None) -> Path:
    """Folder of our own server's data: as given, else ``~/.local/share/ovps/label-studio``.

    Raises:
        UsageError: none is given, and there is no home folder.
    """
    home = home_folder()
    if given is None and home is None:
        raise UsageError("there is no home folder; name one for the server's data with --data-dir")
    return given if given is not None else Path(home or "") / ".local/share/ovps/label-studio"


def find_server(url: str | None, key: str | None, folder: Path) -> Server:
    """The server that is named by options or environment variables, else our own.

    Raises:
        UsageError: there is none, or its key is not known.
    """
    url, key = url or os.environ.get(URL_VARIABLE), key or os.environ.get(KEY_VARIABLE)
    if url and key:
        return Server(url.rstrip("/"), key)
    path = folder / _ACCESS
    if path.is_file():
        own = Server(**json.loads(path.read_text("utf-8")))
        if not url or url.rstrip("/") == own.url:
            return own
    raise UsageError(
        f"no Label Studio is known. Start one with `ovps label serve`, or give --url and --key, or set "
        f"{URL_VARIABLE} and {KEY_VARIABLE}; the key is on the server's page Account & Settings"
    )


def prepare_server(folder: Path, port: int) -> Server:
    """Access to our own server; user, password and key are made at the first call and kept in ``folder``."""
    path = folder / _ACCESS
    url = f"http://localhost:{port}"
    if path.is_file():
        kept = json.loads(path.read_text("utf-8"))
        server = Server(**{**kept, "url": url})
    else:
        server = Server(url, secrets.token_hex(20), _USER, secrets.token_urlsafe(12))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(path, asdict(server))
    path.chmod(0o600)
    return server


def start_server(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    """Start Label Studio on this machine, for this machine only, with SQLite in ``folder``.

    It prints every request and more, so its output is in :data:`LOG` there.

    Raises:
        MissingDependencyError: Label Studio is not installed.
    """
    beside = shutil.which("label-studio", path=str(Path(sys.executable).parent))
    program = beside or shutil.which("label-studio")
    if program is None:
        raise MissingDependencyError(
            "Label Studio is not installed. It needs an older NumPy, so give it an environment of its own, in the "
            "checkout of ovps: python3 -m venv label && label/bin/pip install '.[label]'"
        )
    arguments = {
        "--data-dir": str(folder),
        "--port": server.url.rpartition(":")[2],
        "--internal-host": "127.0.0.1",
        "--username": server.user,
        "--password": server.password,
        "--user-token": server.key,
        "--log-level": "ERROR",
    }
    words = [
        f"{name}={value}" for name, value in arguments.items()
    ]  # a password may begin with "-"
    command = [program, "start", *words, "--no-browser", "--enable-legacy-api-token"]
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            command,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _environment(folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
        "SENTRY_DSN": "",  # neither the server nor its pages report errors to its makers
        "FRONTEND_SENTRY_DSN": "",
        "DJANGO_DB": "sqlite",
    }
