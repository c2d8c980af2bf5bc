"""What the doctor says: the document of its rules, its explanations, its text and its JSON."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from forge.doctor import knowledge
from forge.doctor.as_json import as_json
from forge.doctor.explain import explain
from forge.doctor.text import report
from forge.errors import UsageError

from .cases import SOUND, STRIX_HALO, on, says
from .trees import ADDRESS, Card, Machine, hang, look

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/hangs.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The script that writes hangs.md."""
    spec = importlib.util.spec_from_file_location("hangs_docs", ROOT / "scripts/hangs_docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_as_the_rules_have_it(writer: ModuleType) -> None:
    assert writer.hangs(knowledge()) == DOCUMENT, "run: python scripts/hangs_docs.py"


def test_the_document_has_every_rule_signature_and_rejected_claim() -> None:
    for entry in (*knowledge().rules, *knowledge().rejected):
        assert f"\n### {entry.id}\n" in DOCUMENT
    for signature in knowledge().signatures:
        assert f"\n| {signature.id} |" in DOCUMENT


def test_the_document_describes_every_key_of_the_json(tmp_path: Path) -> None:
    found = as_json(look(tmp_path, STRIX_HALO))
    for key, value in found.items():
        inner = value if isinstance(value, dict) and key == "facts" else {}
        for name in [f"{key}.{part}" for part in inner] or [key]:
            assert f"`{name}`" in DOCUMENT, name


def told(root: Path, machine: Machine, *, verbose: bool = False) -> str:
    found = look(root, machine)
    lines = report(found, knowledge(), [("cpu", ""), ("hip", "pip install x")], verbose=verbose)
    return "\n".join(lines)


def test_certain_findings_come_before_possible_ones_which_say_what_is_missing(
    tmp_path: Path,
) -> None:
    text = told(tmp_path, on(STRIX_HALO, mes=0x83, cwsr=False, params={"cwsr_enable": "x y"}))
    certain = text.index(f"CERTAIN error: mes-083-gfx115x on {ADDRESS} (gfx1151)")
    assert "do: sudo apt purge amdgpu-dkms-firmware" in text[certain:]
    assert "ROCm/ROCm#5724" in text[certain:]
    text = told(tmp_path / "old", on(STRIX_HALO, mes=None))
    assert "POSSIBLE error: mes-083-gfx115x" in text
    assert "unknown: its MES firmware: 0x83: this kernel does not export it" in " ".join(
        text.split()
    )
    assert "sudo cat /sys/kernel/debug/dri/*/amdgpu_firmware_info" in " ".join(text.split())


def test_a_machine_without_an_amd_gpu_is_told_what_was_seen_instead(tmp_path: Path) -> None:
    other = Card(vendor="0x10de", device="0x2684", isa=None, mes=None)
    text = told(tmp_path, replace(SOUND, cards=(other,), kfd=False, rocm=None))
    assert "10de:2684 (NVIDIA)" in text
    assert "No AMD GPU is on this machine's PCI bus (GPUs of other makers only)" in text
    assert "Backends that are installed: cpu" in text
    assert "hip: pip install x" in text
    assert "CERTAIN" not in text
    assert "POSSIBLE" not in text


def test_a_sound_machine_is_told_so(tmp_path: Path) -> None:
    text = told(tmp_path, SOUND, verbose=True)
    assert "No finding: none of the known conditions holds here." in text
    assert f"ruled out: 47 of {len(knowledge().rules)} rules" in text
    assert "mes-083-gfx115x" in text


def test_what_is_foreign_cannot_move_the_cursor(tmp_path: Path) -> None:
    record = hang(
        reason="\x1b[2J",
        detail="\x1b]0;x\x07",
        log=["\x1b[31mred\r"],
        stack='Current thread 1 (most recent call first):\n  File "\x1b[2J", line 1 in \x9b31m',
        threads=["S \x1b[2J", "\u202eD"],
        kind="\x1b[2J",
    )
    machine = on(
        SOUND, hangs=(record,), kernel="6.12\x1b[2J", **says("GPU reset begin! \x1b[2J \x9b31m")
    )
    text = told(tmp_path, replace(machine, rocm="7.2.1\x1b[2J"))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\\x1b[2J" in text


def test_hang_records_are_told_with_what_the_kernel_said(tmp_path: Path) -> None:
    record = hang(when=1_700_000_000, kernel=["ring_timeout", "no-such"], log=["one", "last words"])
    text = told(tmp_path, on(SOUND, hangs=(record,)))
    assert "hang: 2023-11-1" in text
    assert "no progress for 9.1 s; 4.0 s were allowed" in text
    assert "give the device less work per submission" in text
    assert "last line: last words" in text


STACK = """\
Thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x02 (most recent call first):
  File "/opt/forge_hip/memory.py", line 41 in copy_in
  File "/opt/forge_hip/backend.py", line 7 in compile
"""


def test_where_a_worker_hung_is_told_the_innermost_first(tmp_path: Path) -> None:
    record = hang(stack=STACK, threads=["D amdgpu_fence_wait", "S futex_do_wait"] * 2, tokens=7)
    text = told(tmp_path, on(SOUND, hangs=(record,)))
    assert 'it was in: File "/opt/forge_hip/memory.py", line 41 in copy_in' in text
    assert text.index("in copy_in") < text.index("in compile")
    assert "threading.py" not in text
    assert "2 x D amdgpu_fence_wait" in text
    assert "a thread in state D waits in a driver" in text
    assert "after 7 tokens" in text


def test_a_failure_that_was_no_hang_is_not_called_one(tmp_path: Path) -> None:
    wrong = hang(kind="BackendWrong", struck=False, left_behind=True)
    text = told(tmp_path, on(SOUND, hangs=(wrong, hang(kind="BackendLost", struck=True))))
    assert "\nhang:" not in text
    assert "failure: " in text
    assert "only a reboot frees the device" in text
    assert "somebody else ended the process" in text


@pytest.mark.parametrize("rule", knowledge().rules, ids=lambda rule: rule.id)
def test_every_rule_is_explained_whole(rule, tmp_path: Path) -> None:
    text = "\n".join(explain(rule.id, knowledge(), look(tmp_path, STRIX_HALO)))
    for part in (rule.symptom, rule.cause, rule.invariant, rule.fixed_in, rule.note):
        assert part in text
    for part in (*rule.remedy, *rule.sources, *map(str, rule.when)):
        assert part in text
    assert knowledge().confidence[rule.confidence] in text


def test_an_explanation_says_what_is_known_here(tmp_path: Path) -> None:
    found = look(tmp_path, on(STRIX_HALO, mes=None))
    text = "\n".join(explain("mes-083-gfx115x", knowledge(), found))
    assert f"{ADDRESS} (gfx1151): possible" in text
    assert "yes its instruction set: gfx1150 or gfx1151" in text
    assert "?   its MES firmware: 0x83: unknown" in text


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("vm_fragment_size", "RX 9070 XT"),
        ("amdgpu.vm_fragment_size=9", "RX 9070 XT"),
        ("noretry", "RX 9070 XT"),
        ("cwsr_enable", "that of gfx1151"),
        ("amdgpu.cwsr_enable=0", "mes-083-gfx115x speaks of it"),
        ("ROCBLAS_USE_HIPBLASLT=1", "the opposite"),
        ("HSA_OVERRIDE_GFX_VERSION", "gfx1151 itself"),
        ("hsa_xnack", "changed nothing"),
        ("svm-and-xnack", "changed nothing"),
        ("ring_timeout", "vulkan-compute-timeout uses it"),
        ("vk_lost", "Vulkan lost its context"),
    ],
)
def test_claims_and_signatures_are_explained(topic: str, words: str, tmp_path: Path) -> None:
    assert words in "\n".join(explain(topic, knowledge(), look(tmp_path, SOUND)))


def test_an_unknown_topic_names_what_is_alike(tmp_path: Path) -> None:
    found = look(tmp_path, SOUND)
    with pytest.raises(UsageError, match="there is mes-083-gfx115x"):
        explain("mes-083-gfx1151", knowledge(), found)
    with pytest.raises(UsageError, match="forge doctor -v names every rule"):
        explain("qqqqqqqqqqqq", knowledge(), found)


def test_the_json_is_json_with_a_reason_for_what_is_unknown(tmp_path: Path) -> None:
    found = json.loads(json.dumps(as_json(look(tmp_path, on(STRIX_HALO, mes=None, dkms=True)))))
    assert found["schema"] == 1
    assert found["facts"]["machine"]["kernel"] == "6.18.6"
    [gpu] = found["facts"]["gpus"]
    assert gpu["facts"]["mes_fw"]["unknown"] == "this kernel does not export it"
    rules = {finding["rule"]: finding for finding in found["findings"]}
    assert rules["dkms-on-strix"]["certainty"] == "certain"
    assert rules["mes-083-gfx115x"]["missing"][0]["how"]
