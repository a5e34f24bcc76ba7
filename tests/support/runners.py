"""What runs a pipeline's steps where no hosting platform does: its environment is played, its scripts are run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: Where the shipped files say that things are.
PLACES = ("/srv/restore-drill", "/var/lib/restore-drill", "/var/cache/restore-drill")
_LIMIT = 180
_EXPRESSION = re.compile(r"\$\{\{ *(.+?) *\}\}")


@dataclass
class Ran:
    """What became of a pipeline: the statuses of its steps, and what they printed."""

    statuses: dict[str, int] = field(default_factory=dict)
    screen: str = ""

    @property
    def status(self) -> int:
        """The first one that is not 0, as the platform has it."""
        return next((status for status in self.statuses.values() if status), 0)


def github(
    workflow: Path,
    job: str,
    directory: Path,
    environment: Mapping[str, str],
    known: Mapping[str, str],
    without: Container[str] = (),
) -> Ran:
    """Run the steps of a job that are scripts, as a runner does; of other actions, only whether an upload would fail.

    Args:
        known: The value of each expression that the file may use.
        without: Names of steps that are left out, too.
    """
    wanted = yaml.safe_load(workflow.read_text("utf-8"))["jobs"][job]
    ran, failed = Ran(), False
    for step in wanted["steps"]:
        always = step.get("if") in ("always()", "${{ always() }}")
        if "actions/upload-artifact@" in step.get("uses", "") and (always or not failed):
            wanted_there = [directory / path for path in step["with"]["path"].split() if not path.startswith("!")]
            if step["with"].get("if-no-files-found") == "error" and not any(map(Path.exists, wanted_there)):
                ran.statuses[step["name"]] = 1
        if "run" not in step or step["name"] in without or (failed and not always):
            continue
        variables = {**wanted.get("env", {}), **step.get("env", {})}
        variables = {name: _expanded(str(text), known) for name, text in variables.items()}
        shell = ["bash", "-e", "-c", _expanded(step["run"], known)]
        status = _run(ran, shell, directory, {**environment, **variables})
        forgiven = step.get("continue-on-error", False)
        ran.statuses[step["name"]] = 0 if forgiven else status
        failed = failed or (status != 0 and not forgiven)
    return ran


def gitlab(pipeline: Path, job: str, directory: Path, environment: Mapping[str, str]) -> Ran:
    """Run a job's scripts: before_script and script are one shell, after_script is another."""
    wanted = yaml.safe_load(pipeline.read_text("utf-8"))[job]
    variables = dict(environment)
    for name, text in wanted.get("variables", {}).items():
        variables[name] = re.sub(r"\$(\w+)", lambda match: variables.get(match[1], ""), str(text))
    ran = Ran()
    script = "\n".join([*wanted.get("before_script", []), *wanted["script"]])
    ran.statuses["script"] = _run(ran, ["bash", "-eo", "pipefail", "-c", script], directory, variables)
    _run(ran, ["bash", "-eo", "pipefail", "-c", "\n".join(wanted.get("after_script", []))], directory, variables)
    return ran


def jenkins(jenkinsfile: Path, directory: Path, environment: Mapping[str, str]) -> Ran:
    """Run every ``sh`` step, as the durable task plug-in does: ``sh -xe``, until one fails.

    The steps that keep reports fail where there are none, unless they are told not to.
    """
    ran, tree = Ran(), parsed(jenkinsfile.read_bytes())
    for number, script in enumerate(shell_steps(tree)):
        ran.statuses[f"sh {number}"] = status = _run(ran, ["sh", "-xe", "-c", script], directory, environment)
        if status:
            break
    for name, call in calls(tree):
        empty = {"junit": b"allowEmptyResults: true", "archiveArtifacts": b"allowEmptyArchive: true"}.get(name)
        if empty and empty not in call.text and not (directory / "reports" / "junit.xml").exists():
            ran.statuses[name] = 1
    return ran


def parsed(groovy: bytes) -> Any:
    """The syntax tree of a Groovy source; ``has_error`` says whether it is none."""
    import tree_sitter_groovy
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_groovy.language())).parse(groovy).root_node


def calls(node: Any) -> Iterator[tuple[str, Any]]:
    """Every call in a tree: what is called, and the node."""
    if node.type in ("method_invocation", "juxt_function_call"):
        yield node.child_by_field_name("name").text.decode(), node
    for child in node.children:
        yield from calls(child)


def shell_steps(node: Any) -> Iterator[str]:
    """The text of every ``sh`` step; only quotes in which Groovy replaces nothing are taken."""
    for name, call in calls(node):
        if name == "sh":
            text = call.child_by_field_name("args").text.decode()
            assert text.startswith("'''") and text.endswith("'''"), text
            yield text[3:-3]


def unit(path: Path) -> dict[str, list[str]]:
    """The settings of a unit of systemd, by ``Section.Key``."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def systemd(service: Path, directory: Path, elsewhere: Mapping[str, str]) -> Ran:
    """Run what a service starts, with the environment that systemd gives it and with its own paths moved."""
    settings = unit(service)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/nonexistent", "USER": "drill"}
    for text in settings["Service.Environment"]:
        name, _, value = text.partition("=")
        environment[name] = moved(value, elsewhere)
    (command,) = settings["Service.ExecStart"]
    ran = Ran()
    # No shell is between: words are split at blanks.
    ran.statuses["ExecStart"] = _run(ran, moved(command, elsewhere).split(), directory, environment)
    return ran


@dataclass(frozen=True)
class CronEntry:
    """A line of a system crontab, with the variables that are set above it."""

    schedule: str
    user: str
    command: str
    variables: Mapping[str, str]


def crontab(path: Path) -> list[CronEntry]:
    """The entries of a file for ``/etc/cron.d``, as crontab(5) says."""
    variables: dict[str, str] = {}
    found = []
    for line in path.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"(\w+) *= *(.*)", line):
            variables[match[1]] = match[2]
        elif line and not line.startswith("#"):
            *fields, user, command = line.split(None, 6)
            found.append(CronEntry(" ".join(fields), user, command, dict(variables)))
    return found


def cron(path: Path, elsewhere: Mapping[str, str]) -> Ran:
    """Run the entry of a file for ``/etc/cron.d`` as cron does: by its shell, with next to no environment."""
    (entry,) = crontab(path)
    environment = {"HOME": "/", "LOGNAME": entry.user, **entry.variables}
    environment = {name: moved(text, elsewhere) for name, text in environment.items()}
    ran = Ran()
    shell = [environment["SHELL"], "-c", moved(entry.command, elsewhere)]
    ran.statuses["command"] = _run(ran, shell, Path("/"), environment)
    return ran


def moved(text: str, elsewhere: Mapping[str, str]) -> str:
    """A text of the shipped files with their places replaced."""
    for place in PLACES:
        text = text.replace(place, elsewhere[place])
    return text


def _expanded(text: str, known: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: known[match[1]], text)


def _run(ran: Ran, command: list[str], directory: Path, environment: Mapping[str, str]) -> int:
    path = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(
        command, cwd=directory, env=path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=_LIMIT, check=False,
    )  # fmt: skip
    ran.screen += done.stdout
    return done.returncode
