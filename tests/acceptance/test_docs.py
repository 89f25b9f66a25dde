"""Every snippet of the documentation runs, in the order of its page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, body) for kind, body in BLOCK.findall(page.read_text()) if kind in ("python", "sh")]


def as_python(kind: str, body: str) -> str:
    if kind == "python":
        return body
    script = body.replace("make ", f"make --dry-run -C {ROOT} ")
    return f"__import__('subprocess').run(['bash', '-euo', 'pipefail', '-c', {script!r}], check=True)"


@pytest.mark.timeout(330)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PUBWORKS_DATA_DIR": str(tmp_path / "data"),
    }
    session = "\n".join(as_python(kind, body) for kind, body in blocks(page))  # one page is one session
    done = subprocess.run(
        [sys.executable, "-"], input=session, cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{session}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_troubleshooting_quotes_real_messages() -> None:
    """The quoted texts stand in the code, so that a search for the error finds the page."""
    sources = [path for folder in ("common", "producer", "worker") for path in (ROOT / folder).rglob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in sources))
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quotes) > 10
    assert [quote for quote in quotes if quote not in code] == []


def test_every_direct_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = [re.split(r"[\[<>=;]", item)[0] for item in project["dependencies"]]
    assert [name for name in names if f"| {name} |" not in page] == []


def test_reference_names_every_setting_command_and_state() -> None:
    from pubworks.cli.main import app
    from pubworks.policy import Policy, Price, Quota
    from pubworks.settings import BackendEntry, Settings
    from pubworks.states import BatchState, JobState

    page = (ROOT / "docs" / "reference.md").read_text()
    commands = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    commands += [group.name or "" for group in app.registered_groups]
    settings = [name for model in (Settings, BackendEntry, Quota, Price, Policy) for name in model.model_fields]
    names = [*settings, *commands, *JobState, *BatchState]
    assert [name for name in names if f"`{name}`" not in page] == []
