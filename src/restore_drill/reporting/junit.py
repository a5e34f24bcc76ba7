"""JUnit as other programs want it: without what a strict schema does not know, and of several runs together.

The documents are our own or a shard's: pytest writes them (junit_family xunit1), nobody's else are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

#: What pytest writes of a case beyond what Jenkins' schema of its xunit plug-in (junit-10.xsd) has.
_BEYOND = ("file", "line")


def strict(junit: bytes) -> bytes:
    """The same cases and outcomes without properties and places in a case, valid by Jenkins' junit-10.xsd."""
    root = _parse(junit)
    for case in root.iter("testcase"):
        for properties in case.findall("properties"):
            case.remove(properties)
        for name in _BEYOND:
            case.attrib.pop(name, None)
    return _written(root)


def join(documents: Sequence[tuple[str, bytes]], problems: Iterable[str], *, at: str, host: str) -> bytes:
    """Several runs' JUnit in one: a suite for each, and one more with an error for each problem of the whole.

    Args:
        documents: Name of the suite, and the run's JUnit.
        problems: What makes the whole red although no case does, such as a shard that is missing.
        at: When the problems were found, ISO 8601.
        host: Where.

    Raises:
        ValueError: A document is not JUnit.
    """
    joined = ElementTree.Element("testsuites", {"name": "restore-drill merge"})
    for name, document in documents:
        for suite in _parse(document).iter("testsuite"):
            suite.set("name", name)
            joined.append(suite)
    found = list(problems)
    if found:
        count = str(len(found))
        about = {"tests": count, "errors": count, "failures": "0", "skipped": "0", "time": "0.000"}
        suite = ElementTree.SubElement(
            joined, "testsuite", {"name": "merge", **about, "timestamp": at, "hostname": host}
        )
        for problem in found:
            _problem(suite, problem)
    return _written(joined)


def others_failed(junit: bytes) -> bool:
    """Whether a test failed that is no drill: such tests bear no verdict, and evidence says nothing of them.

    Raises:
        ValueError: It is not JUnit.
    """
    cases = _parse(junit).iter("testcase")
    bad = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return any(case.find("properties/property[@name='verdict']") is None for case in bad)


def _problem(suite: ElementTree.Element, problem: str) -> None:
    name = problem.partition(":")[0]
    case = ElementTree.SubElement(suite, "testcase", {"classname": "restore-drill", "name": name, "time": "0.000"})
    ElementTree.SubElement(case, "error", {"message": problem}).text = problem


def _parse(document: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in document:  # which could define entities that grow; pytest writes none
        raise ValueError("it has a document type, which no JUnit of a run has")
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - see above
    except ElementTree.ParseError as problem:
        raise ValueError(f"it is not XML: {problem}") from problem
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError(f"it is not JUnit: its root is {root.tag}")
    return root


def _written(root: ElementTree.Element) -> bytes:
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
