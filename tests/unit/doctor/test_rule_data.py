"""Rules that are not what rules have to be are refused, and the entry at fault is named."""

from __future__ import annotations

import re

import pytest

from forge.doctor import knowledge, scan
from forge.doctor.facts import MEANINGS
from forge.doctor.rules import RuleError, parse

HEAD = """\
schema = 1
[confidence]
A = "sure"
[action]
wait = "wait"
"""
SIGNATURE = """\
[signature.sign]
stream = "kernel"
regex = 'ring \\d{1,3}'
means = "it rang"
action = "wait"
"""
RULE = """\
[[rule]]
id = "sick"
severity = "warning"
symptom = "It is ill."
cause = "A virus."
when = { isa = 110000 }
remedy = ["rest"]
confidence = "A"
sources = ["someone/something#1"]
"""
GOOD = HEAD + SIGNATURE + RULE


def test_a_rule_that_is_whole_is_read() -> None:
    found = parse(GOOD)
    assert [rule.id for rule in found.rules] == ["sick"]
    assert found.rules[0].per_gpu


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('sources = ["someone/something#1"]\n', "", "rule sick: sources is missing"),
        ('sources = ["someone/something#1"]', "sources = []", "rule sick: sources is missing"),
        ('sources = ["someone/something#1"]', 'sources = [""]', "rule sick: sources is missing"),
        ('remedy = ["rest"]\n', "", "rule sick: remedy is missing"),
        ('symptom = "It is ill."', 'symptom = " "', "rule sick: symptom is missing"),
        ('id = "sick"\n', "", "rule without an id: id is missing"),
        ('cause = "A virus."', 'cuase = "A virus."', "rule sick: unknown: cuase"),
        ('severity = "warning"', 'severity = "mild"', "rule sick: severity is not one of"),
        ('confidence = "A"', 'confidence = "Z"', "rule sick: confidence is not one of A"),
        ("{ isa = 110000 }", "{}", "rule sick: it has no conditions"),
        ("{ isa = 110000 }", "{ iso = 110000 }", "rule sick: there is no fact 'iso'"),
        ("{ isa = 110000 }", '{ kernel = "6.18" }', "rule sick: kernel: '6.18' is no comparison"),
        ("{ isa = 110000 }", '{ kernel = ">=6.x" }', "rule sick: kernel: '6.x' is no version"),
        ("{ isa = 110000 }", '{ kernel = ">=6.18,<" }', "rule sick: kernel: '<' is no comparison"),
        ("{ isa = 110000 }", '{ mes_fw = "<0xZZ" }', "rule sick: mes_fw: '0xZZ' is neither"),
        (
            "{ isa = 110000 }",
            '{ vram_total = ">dkms" }',
            "rule sick: vram_total: 'dkms' is neither",
        ),
        ("{ isa = 110000 }", "{ isa = [] }", "rule sick: isa is compared with an empty list"),
        ("{ isa = 110000 }", "{ isa = true }", "rule sick: isa, which is a number"),
        ("{ isa = 110000 }", "{ dkms = 1 }", "rule sick: dkms, which is a flag"),
        ("{ isa = 110000 }", "{ isa = 1.5 }", "rule sick: isa, which is a number"),
        ("{ isa = 110000 }", '{ rocm = ">=7.0" }', "rule sick: rocm is compared with '>=7.0', not"),
        ("{ isa = 110000 }", '{ rocm = { beta = ">=7.0" } }', "rule sick: rocm has no stream"),
        ("{ isa = 110000 }", '{ env = "HSA" }', "rule sick: env is compared with 'HSA', not"),
        ("{ isa = 110000 }", "{ param = { runpm = true } }", "rule sick: param.runpm is compared"),
        ("{ isa = 110000 }", '{ param = { "a b" = "0" } }', "rule sick: param has no 'a b'"),
        ("{ isa = 110000 }", '{ log = "song" }', "rule sick: there is no kernel signature song"),
        ("{ isa = 110000 }", '{ stderr = "sign" }', "rule sick: there is no stderr signature sign"),
        ("{ isa = 110000 }", "{ log = [] }", "rule sick: log is compared with"),
        ('cause = "A virus."', 'cause = "V"\nblocks = ["cuda"]', "rule sick: blocks cuda"),
        ('cause = "A virus."', 'cause = "V"\nconfirm = {}', "rule sick: it has no conditions"),
        ("schema = 1", "schema = 2", "schema 2 is not 1"),
        ("schema = 1", "schema = ", "rules.toml"),
        ("schema = 1", "schema = 1\nmore = 2", "rules.toml: unknown: more"),
        ("\\d{1,3}", "\\d+", "signature sign: its regex repeats without a bound"),
        ("\\d{1,3}", ".*", "signature sign: its regex repeats without a bound"),
        ("\\d{1,3}", "x{2,}", "signature sign: its regex repeats without a bound"),
        ("\\d{1,3}", "(", "signature sign: its regex:"),
        ('action = "wait"', 'action = "run"', "signature sign: action 'run' is not one of wait"),
        ('stream = "kernel"', 'stream = "river"', "signature sign: stream 'river' is not one of"),
        ('means = "it rang"', "", "signature sign: means is missing"),
    ],
)
def test_what_is_wrong_is_named(before: str, after: str, message: str) -> None:
    assert before in GOOD
    with pytest.raises(RuleError, match=re.escape(message)):
        parse(GOOD.replace(before, after, 1))


def test_an_id_is_used_once() -> None:
    with pytest.raises(RuleError, match=r"twice: sick"):
        parse(GOOD + RULE)
    with pytest.raises(RuleError, match=r"twice: sign"):
        parse(GOOD.replace('id = "sick"', 'id = "sign"'))


def test_an_escaped_plus_is_no_repetition() -> None:
    assert parse(GOOD.replace("\\d{1,3}", r"a\+b\*")).signatures[0].pattern.search("ring a+b*")


def test_every_fact_that_a_rule_may_name_is_used_or_shown() -> None:
    named = {
        fact.partition(".")[0]
        for rule in knowledge().rules
        for test in (*rule.when, *rule.confirm)
        for fact in test.facts
    }
    spare = {"container", "evicted_ms", "ttm_pages_limit", "vram_used", "gtt_used", "devcoredump"}
    compared = {"gtt_total"}  # on the right side only
    assert MEANINGS.keys() - named == spare | compared


def test_remedies_are_commands_or_say_what_to_do() -> None:
    for rule in knowledge().rules:
        assert not set(rule.remedy) & set(rule.not_a_remedy), rule.id
        assert rule.sources, rule.id


EXAMPLES = {
    "mes_no_response": "amdgpu 0000:c5:00.0: amdgpu: MES failed to respond to msg=REMOVE_QUEUE",
    "mes_unrecoverable": "amdgpu: MES might be in unrecoverable state, issue a GPU reset",
    "queue_teardown": "amdgpu: failed to remove hardware queue from MES, doorbell=0x1002",
    "ring_timeout": "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring comp_1.0.1 timeout, signaled",
    "wedged_recovered": "amdgpu 0000:c5:00.0: [drm] device wedged, but recovered through reset",
    "gpu_reset": "amdgpu 0000:c5:00.0: amdgpu: GPU reset begin!",
    "resume_failed": "[drm:amdgpu_device_resume] *ERROR* resume of IP block <psp> failed -62",
    "gfxhub_fault": "amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770)",
    "fault_cpf": "amdgpu:  Faulty UTCL2 client ID: CPF (0x4)",
    "fault_tcp": "amdgpu:  Faulty UTCL2 client ID: TCP (0x8)",
    "fault_sdma": "amdgpu:  Faulty UTCL2 client ID: SDMA0 (0xa)",
    "preemption_failed": "amdgpu: cp queue pipe 0 queue 2 preemption failed",
    "svm_limit": "amdgpu: SVM mapping failed, exceeds resident system memory limit",
    "pci_atomics": "kfd kfd: amdgpu: skipped device 1002:699f, PCI rejects atomics 730<0",
    "smu_stuck": "amdgpu: SMU: I'm not done with your previous command: SMN_C2PMSG_66:0x12",
    "hip_gpu_hang": "HW Exception by GPU node-1 (Agent handle: 0x55) reason :GPU Hang",
    "hip_memfault": "Memory access fault by GPU node-1 (Agent handle: 0x55) on address 0x7f",
    "hip_aperture": "HSA_STATUS_ERROR_MEMORY_APERTURE_VIOLATION: The agent attempted to access",
    "hip_no_code": "HIP error: invalid device function",
    "vk_lost": "vk::DeviceLostError: vk::Queue::submit: ErrorDeviceLost",
    "hip_stream_alloc": "hipMallocAsync failed",
    "hip_vmm_call": "hipMemAddressReserve(&ptr, size)",
    "null_stream": "waiting on the null stream",
    "out_of_memory": "hipErrorOutOfMemory: out of memory",
}


@pytest.mark.parametrize("signature", knowledge().signatures, ids=lambda s: s.id)
def test_each_signature_finds_its_line_and_no_other(signature) -> None:
    found = scan(EXAMPLES.values(), signature.stream)
    assert [hit.line for hit in found if hit.signature == signature.id] == [EXAMPLES[signature.id]]


def test_a_hit_names_the_gpu_and_counts() -> None:
    [hit] = scan([EXAMPLES["gpu_reset"]] * 3)
    assert (hit.address, hit.count, hit.action) == ("0000:c5:00.0", 3, "rebuild-context")
    [hit] = scan([EXAMPLES["pci_atomics"]])
    assert (hit.address, hit.device_id) == ("", "699f")


def test_a_long_line_is_kept_in_part() -> None:
    [hit] = scan([EXAMPLES["gpu_reset"] + "x" * 100_000])
    assert len(hit.line) == 1000


@pytest.mark.timeout(30)
def test_hostile_lines_cost_no_more_than_their_number() -> None:
    """Lines that begin to match at every position; backtracking would take hours."""
    hostile = [
        "HW Exception by GPU node-1 " * 40_000,
        "ring gfx" + "x" * 1_000_000,
        "ring gfxring comp" * 60_000,
        "resume of IP block <" + "a" * 1_000_000,
        "cp queue pipe 1 queue " * 50_000,
        "\0" * 1_000_000,
        "0000:c5:" * 100_000,
    ]
    for stream in ("kernel", "stderr"):
        assert scan(hostile * 20, stream) == []
