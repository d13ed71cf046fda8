"""All settings written out: as a settings file, and as the table of docs/settings.md."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from annolake.settings import SECTIONS, SETTINGS, Setting, settings_of


def example_toml(given: Mapping[str, Any] | None = None) -> str:
    """Return config.example.toml: every setting with its meaning, what is allowed, and its default.

    With values `given` a file that has these, and the defaults of all others as comments.
    """
    lines = [
        "# annolake.toml: copy this file, set source.queues and lake.path, and leave out what may stay as it is."
        if given is None
        else "# annolake.toml: what is set differs from the defaults, which stand in comments.",
        "# The command line overrides the environment (ANNOLAKE_SECTION__KEY), the environment this file.",
    ]
    for section, struct in SECTIONS.items():
        lines += ["", f"[{section}]  # {_first_line(struct)}"]
        for setting in settings_of(section):
            name = setting.key.split(".")[1]
            lines += [f"# {setting.meta.description}", f"# ({setting.allowed})"]
            if given is None:
                lines.append(f"{name} = {_default(setting)}")
            elif setting.key in given:
                lines.append(f"{name} = {json.dumps(given[setting.key], ensure_ascii=False)}")
            else:
                lines.append(f"# {name} = {_default(setting)}")
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """Return the table of docs/settings.md."""
    rows = ["| Setting | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for setting in SETTINGS.values():
        default = "required" if setting.default is msgspec.NODEFAULT else f"`{_default(setting)}`"
        rows.append(f"| `{setting.key}` | {default} | {setting.allowed} | {setting.meta.description} |")
    return "\n".join(rows) + "\n"


def _first_line(struct: type[msgspec.Struct]) -> str:
    return (struct.__doc__ or "").splitlines()[0]


def _default(setting: Setting) -> str:
    """Return the default, or the example of a required setting, as TOML (of which JSON's values are a part)."""
    value = setting.extra["example"] if setting.default is msgspec.NODEFAULT else setting.default
    return json.dumps("" if value is None else dict(value) if isinstance(value, Mapping) else value)
