"""The standard cases, for a project of your own: ``from restore_drill.standard_cases import *``.

The wheel ships the files of the project's ``drills/`` beside this module; an editable installation reads them there.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_HERE = Path(__file__).parent
_PLACES = (_HERE / "standard", _HERE.parents[1] / "drills")
_FILES = ("test_snapshot", "test_restore", "test_content", "test_policy", "test_sets")

__all__: list[str] = []


def _bring_in(name: str) -> None:
    """Import one file of cases and take over its test functions."""
    path = next(place / f"{name}.py" for place in _PLACES if (place / f"{name}.py").is_file())
    spec = importlib.util.spec_from_file_location(f"restore_drill.standard.{name}", path)
    assert spec is not None  # noqa: S101 - the path ends in .py
    assert spec.loader is not None  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for attribute in vars(module):
        if attribute.startswith("test_"):
            globals()[attribute] = getattr(module, attribute)
            __all__.append(attribute)


for _file in _FILES:
    _bring_in(_file)
