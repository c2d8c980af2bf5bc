"""The person's configuration file: what is true of a backend on this machine for good.

    [backends.hip]
    proven = true                       # as if `forge selftest -b hip` had passed here
    env = { HSA_ENABLE_SDMA = "0" }     # set for its workers

`forge doctor --experiment` offers to write such lines.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forge.errors import UsageError
from forge.spec import BackendSpec

_KNOWN = {"proven": bool, "env": dict}


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Of one backend: whether it is trusted like one whose self-test passed, and variables."""

    proven: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; nothing where there is none."""

    backends: Mapping[str, BackendSettings] = field(default_factory=dict[str, BackendSettings])

    def of(self, spec: BackendSpec) -> BackendSettings:
        """What it says of a backend."""
        return self.backends.get(spec.name, BackendSettings())

    def applied(self, spec: BackendSpec) -> BackendSpec:
        """The backend with the variables that it is to have here."""
        env = self.of(spec).env
        return replace(spec, env={**spec.env, **env}) if env else spec


def config_path() -> Path:
    """FORGE_CONFIG, or config.toml in the user's configuration folder."""
    if path := os.environ.get("FORGE_CONFIG"):
        return Path(path).expanduser()
    from platformdirs import user_config_path

    return user_config_path("forge", appauthor=False) / "config.toml"


def read_config(path: Path | None = None) -> Config:
    """The configuration; UsageError names the file and what is wrong in it."""
    path = path or config_path()
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}; mend it, or move it away") from None
    for name in content:
        _need(path, name, name == "backends", "is not known: there is only [backends.NAME]")
    found = content.get("backends", {})
    _need(path, "backends", isinstance(found, dict), "is no table: write [backends.NAME]")
    return Config({name: _settings(path, name, table) for name, table in found.items()})


def _settings(path: Path, name: str, table: object) -> BackendSettings:
    place = f"backends.{name}"
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {place} is no table: write [{place}]")
    for key, value in table.items():
        kind = _KNOWN.get(key)
        _need(path, f"{place}.{key}", kind is not None, f"is not known: {', '.join(_KNOWN)} are")
        _need(
            path,
            f"{place}.{key}",
            type(value) is kind,
            f"is {value!r:.60}: it takes {_takes(kind)}",
        )
    env = table.get("env", {})
    for key, value in env.items():
        right = isinstance(value, str) and bool(key) and not {"=", "\0"} & set(key)
        right = right and "\0" not in value
        _need(path, f"{place}.env.{key}", right, "is not a variable's text")
    return BackendSettings(table.get("proven", False), env)


def _takes(kind: type | None) -> str:
    return "true or false" if kind is bool else 'variables, { NAME = "value" }'


def _need(path: Path, what: str, right: bool, otherwise: str) -> None:
    if not right:
        raise UsageError(f"{path}: {what} {otherwise}")


def set_env(backend: str, env: Mapping[str, str], path: Path | None = None) -> Path:
    """Write variables of a backend into the file, whole or not at all; the rest stays as it is.

    Raises UsageError where the file is damaged, OSError where it cannot be written.
    """
    import tomlkit

    path = (path or config_path()).resolve()  # a link stays one
    read_config(path)
    document = tomlkit.parse(path.read_text("utf-8") if path.exists() else "")
    backends = document.setdefault("backends", tomlkit.table(is_super_table=True))
    section = backends.setdefault(backend, tomlkit.table())
    chosen = section.setdefault("env", tomlkit.inline_table())
    chosen.update(env)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(tomlkit.dumps(document), "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
