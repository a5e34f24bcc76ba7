from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.catalogue.scalars import Ambiguous, Instant, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("orders-db", "orders-db"),
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nullable", "nullable"),
        ("yes", True),
        ("No", False),
        ("ON", True),
        ("off", False),
        ("true", True),
        ("False", False),
        ("y", "y"),
        ("offsite", "offsite"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("59", 59),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("6.0e+3", 6000.0),
        ("15m", "15m"),
        ("1h30m", "1h30m"),
        ("5%", "5%"),
        ("2026-11-23", date(2026, 11, 23)),
        ("2026-11-23 02:00:00", Instant("2026-11-23 02:00:00")),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("..", ".."),
        ("08:30", "08:30"),
        ("8080:80", "8080:80"),
        ("~/x", "~/x"),
        ("9" * 41 + "x", "9" * 41 + "x"),
    ],
)
def test_reads_what_every_reader_of_yaml_reads(text: str, value: Any) -> None:
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("012", "012 is the number 10 in YAML 1.1 (base 8) and another one in YAML 1.2"),
        ("1:30", "1:30 is the number 90 in YAML 1.1 (base 60) and text in YAML 1.2"),
        ("-1:30:00", "-1:30:00 is the number -5400 in YAML 1.1 (base 60) and text in YAML 1.2"),
        ("1_000", "1_000 is a number in YAML 1.1 and text in YAML 1.2"),
        ("0b11", "0b11 is a number in YAML 1.1 and text in YAML 1.2"),
        ("1e3", "1e3 is text in YAML 1.1 and a number in YAML 1.2"),
        ("1.5e3", "1.5e3 is text in YAML 1.1 and a number in YAML 1.2"),
        ("-.5", "-.5 is text in YAML 1.1 and a number in YAML 1.2"),
        (".0_", ".0_ is a number in YAML 1.1 and text in YAML 1.2"),
        ("089", "089 is text in YAML 1.1 and a number in YAML 1.2"),
        ("0o17", "0o17 is text in YAML 1.1 and a number in YAML 1.2"),
        (".inf", ".inf is not a finite number"),
        (".NaN", ".NaN is not a finite number"),
        ("1.0e+999", "1.0e+999 is not a finite number"),
        ("2026-02-30", "2026-02-30 is not a day of the calendar"),
        ("9" * 41, "a number of more than 40 characters"),
        ("0" * 5000 + "7", "a number of more than 40 characters"),
    ],
)
def test_doubts_what_two_readers_of_yaml_take_for_two_things(text: str, message: str) -> None:
    found = read(text)
    assert isinstance(found, Ambiguous)
    assert found.message == message
    assert found.hint


def _pyyaml(text: str) -> Any:
    node = yaml.ScalarNode(yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False)), text)
    return yaml.SafeLoader("").construct_object(node)


@given(st.text("0123456789+-._:eExobTZ nyNYtrufalso~%", max_size=12))
def test_whatever_is_not_doubted_is_what_pyyaml_reads(text: str) -> None:
    found = read(text)
    if isinstance(found, Ambiguous):
        return
    if isinstance(found, Instant):
        assert not isinstance(_pyyaml(text), str | int | float)
        return
    assert found == _pyyaml(text)
    assert type(found) is type(_pyyaml(text))
