"""What `make` calls: one session a task, each in an environment of its own."""

import os

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "test", "prefect", "airflow"]

# The certificates of this machine, as pip does: a company's own are there.
for _name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):
    os.environ.setdefault(_name, "true")

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, extras: str = "demo") -> None:
    """Install the project as a user would, with the versions everything was tested with."""
    wanted = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install("--quiet", "-c", "constraints.txt", "-e", f".[{extras}]", *wanted)


@nox.session
def lint(session: nox.Session) -> None:
    install(session, "test", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")


#: Much of a test is waiting for servers and other processes. Whoever picks tests sees them in order.
IN_PARALLEL = ("-n", "2", "--dist", "worksteal")


@nox.session
def test(session: nox.Session) -> None:
    install(session, "test")
    session.run("pytest", *(session.posargs or IN_PARALLEL))


def test_integration(session: nox.Session, folder: str) -> None:
    """Check and test a distribution of `integrations/` in an environment of its own."""
    project = nox.project.load_toml(os.path.join(folder, "pyproject.toml"))
    wanted = nox.project.dependency_groups(project, "test")
    session.install(
        *("--quiet", "-c", os.path.join(folder, "constraints.txt")),
        "-e",
        ".",
        "-e",
        folder,
        *wanted,
    )
    session.chdir(folder)
    session.run("mypy")
    session.run("pytest", *session.posargs)


@nox.session
def prefect(session: nox.Session) -> None:
    test_integration(session, "integrations/prefect-s3kv")


@nox.session
def airflow(session: nox.Session) -> None:
    test_integration(session, "integrations/airflow-provider-s3kv")


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def versions(session: nox.Session) -> None:
    install(session, "test")
    session.run("pytest", *(session.posargs or IN_PARALLEL))


@nox.session(venv_backend="venv")
def torch(session: nox.Session) -> None:
    """By hand: PyTorch takes gigabytes, and uv the build for CUDA."""
    install(session, "test")
    session.install("torch>=2.2")
    session.run("pytest", "tests/unit/torch_keys.py", *session.posargs)


@nox.session
def numba(session: nox.Session) -> None:
    """By hand: Numba waits for no new version of NumPy, and the other tests do not wait for it."""
    install(session, "test")
    session.install("numba>=0.60")
    session.run("pytest", "tests/unit/numba_keys.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    session.install("--quiet", "-c", "constraints.txt", ".[demo]")
    session.run("s3kv", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    install(session, "test", "bench")
    session.run("python", os.path.join("benchmarks", "run.py"), *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    session.install("uv")
    core = [
        "pyproject.toml",
        *["--group", "test", "--group", "lint", "--group", "bench", "--extra", "demo"],
    ]
    compile_constraints(session, ".", core)
    for folder in ("integrations/prefect-s3kv", "integrations/airflow-provider-s3kv"):
        of_it = [os.path.join(folder, "constraints.in")]
        # The core comes from this checkout, so what it needs is named beside.
        given = ["pyproject.toml", *of_it, "--group", f"{folder}/pyproject.toml:test"]
        compile_constraints(session, folder, given)


def compile_constraints(session: nox.Session, folder: str, given: list[str]) -> None:
    session.run(
        *("uv", "pip", "compile", "--universal", "--python-version", "3.10", "--upgrade"),
        *given,
        *("--no-header", "--no-annotate", "-o", os.path.join(folder, "constraints.txt")),
    )
