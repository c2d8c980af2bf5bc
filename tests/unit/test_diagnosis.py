"""A front end learns what is wrong here in one call."""

from __future__ import annotations

from pathlib import Path

from forge import diagnose
from forge.state import Key, Ledger

from .doctor.cases import STRIX_HALO
from .doctor.trees import build


def test_quarantines_come_with_whether_they_still_hold(tmp_path: Path) -> None:
    with Ledger.open() as ledger:
        key = Key("vulkan", "0000:03:00.0", {"forge": "0.0.1"})
        ledger.quarantine(key, "hung in decode")
        ledger.quarantine(Key("hip", "", {}), "asked for")
    found = diagnose(tmp_path)
    lapsed, held = found.quarantines
    assert (lapsed.quarantine.reason, lapsed.holds) == ("hung in decode", False)
    assert (held.quarantine.key.backend, held.holds) == ("hip", True)


def test_findings_have_remedies(tmp_path: Path) -> None:
    found = diagnose(build(tmp_path, STRIX_HALO))
    assert found.complete
    assert found.findings
    assert all(finding.rule.remedy or finding.rule.not_a_remedy for finding in found.findings)


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FORGE_STATE", str(tmp_path / "file" / "state"))
    found = diagnose(tmp_path)
    assert found.quarantines == ()
    assert "Not a directory" in found.notes[0]
