"""The controls' part of the catalogue: which frameworks reports speak of, and files of one's own."""

from __future__ import annotations

import glob
import os.path
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from restore_drill.catalogue.fields import Many, Part, Text


class ControlsModel(Part):
    """Which requirements of which frameworks reports show the evidence of."""

    include: Many[Text] = Field(
        (),
        description="Files with frameworks of your own (docs/auditors.md says what they hold): globs relative to this "
        "file. One with the id of a built-in framework takes its place.",
        examples=[["controls/*.yaml"]],
    )
    frameworks: Many[Text] = Field(
        (), description="The ids of the frameworks to report, left out: all.", examples=[["nist-800-53r5", "dora"]]
    )


def control_files(base: Path, patterns: Sequence[str]) -> dict[str, list[str]]:
    """The files that each pattern matches, in order."""
    return {
        pattern: sorted(
            os.path.join(base, found)  # noqa: PTH118 - lexical
            for found in glob.glob(pattern, root_dir=base)  # noqa: PTH207 - relative to the catalogue
            if os.path.isfile(os.path.join(base, found))  # noqa: PTH113, PTH118
        )
        for pattern in patterns
    }
