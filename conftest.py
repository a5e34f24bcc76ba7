"""For a checkout: the plugin is there for every case in this tree, installed or not.

Its entry point bears the name of its module, so that pytest loads it once, whichever comes first.
"""

from __future__ import annotations

pytest_plugins = ["restore_drill.pytest_plugin"]
