"""For each rule a machine that it holds on, and what to change for it not to."""

from dataclasses import dataclass, replace
from typing import Any

from .trees import ADDRESS, GIB, Card, Machine, hang

SOUND = Machine()
STRIX_HALO = replace(
    SOUND.card(isa=110501, device="0x1586", mes=0x80, vram=GIB, gtt=32 * GIB), kernel="6.18.6"
)
NAVI_48 = SOUND.card(isa=120001, device="0x7550", mes=0x84)
NAVI_44 = SOUND.card(isa=120000, device="0x7590", mes=0x84)
NAVI_10 = SOUND.card(isa=100100, device="0x731f", mes=None)
HUNG_STRIX = replace(STRIX_HALO, hangs=(hang(),))


def says(text: str) -> dict[str, Any]:
    """The log of a machine on which the driver says that of the first card."""
    return {"log": (f"amdgpu {ADDRESS}: amdgpu: {text}",)}


def on(machine: Machine, **changes: Any) -> Machine:
    """With other settings; those of a card go to the first."""
    own = {name: value for name, value in changes.items() if name in Machine.__dataclass_fields__}
    cards = {name: value for name, value in changes.items() if name not in own}
    return replace(machine.card(**cards) if cards else machine, **own)


@dataclass(frozen=True)
class Case:
    """A rule's id, a machine that it certainly holds on, and the one setting that clears it."""

    rule: str
    sick: Machine
    cured: dict[str, Any]


MES_LATE = "MES failed to respond to msg=REMOVE_QUEUE"
TCP = "   Faulty UTCL2 client ID: TCP (0x8)"
CASES = (
    Case("kfd-missing", on(SOUND, kfd=False), {"kfd": True}),
    Case("kfd-permission", on(SOUND, access=False), {"access": True}),
    Case(
        "pcie-atomics",
        on(
            SOUND, isa=None, log=("kfd kfd: amdgpu: skipped device 1002:744c, PCI rejects atomics",)
        ),
        {"log": ("kfd kfd: amdgpu: skipped device 1002:67df, PCI rejects atomics",)},
    ),
    Case(
        "override-on-native-gpu",
        on(SOUND, isa=120001, env={"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}),
        {"env": {"HSA_OVERRIDE_GFX_VERSION": "12.0.1"}},
    ),
    Case(
        "override-vgpr-mismatch",
        on(SOUND, isa=110003, env={"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}),
        {"env": {"HSA_OVERRIDE_GFX_VERSION": "11.0.2"}},
    ),
    Case(
        "override-rdna1",
        on(NAVI_10, env={"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}),
        {"env": {"HSA_OVERRIDE_GFX_VERSION": "10.1.0"}},
    ),
    Case("rdna1-rocm-gap", on(NAVI_10, rocm="5.7.1-105"), {"rocm": "6.1.0-82"}),
    Case(
        "no-code-object",
        on(SOUND, hangs=(hang(log=["error: invalid device function at k.hip:3"]),)),
        {"hangs": (hang(log=["error: invalid device ordinal at k.hip:3"]),)},
    ),
    Case(
        "mixed-igpu-dgpu",
        on(SOUND, cards=(Card(), Card(isa=100306, address="0000:0d:00.0", minor=129))),
        {"env": {"ROCR_VISIBLE_DEVICES": "0"}},
    ),
    Case(
        "rocm-mixed-versions",
        on(SOUND, library="libamdhip64.so.6.2.60204"),
        {"library": "libamdhip64.so.7.2.70201"},
    ),
    Case(
        "software-vulkan",
        on(SOUND, icds=("lvp_icd.x86_64.json",)),
        {"icds": ("lvp_icd.x86_64.json", "radeon_icd.x86_64.json")},
    ),
    Case("mes-083-gfx115x", on(STRIX_HALO, mes=0x83), {"mes": 0x80}),
    Case("mes-old-gfx1151", on(STRIX_HALO, mes=0x7F), {"mes": 0x80}),
    Case("cwsr-undersized-gfx1151", on(STRIX_HALO, cwsr=False), {"params": {"cwsr_enable": "0"}}),
    Case("cwsr-half-fixed", on(STRIX_HALO, rocm="7.1.1-38"), {"rocm": "7.2.1-43"}),
    Case("cwsr-expert-sched-gfx12", on(NAVI_48, cwsr=False), {"cwsr": True}),
    Case(
        "rdna3-kernel-6.18",
        on(SOUND, kernel="6.18.0", **says("   Faulty UTCL2 client ID: SDMA0 (0xa)")),
        {"kernel": "6.17.9"},
    ),
    Case("gfx12-hipblaslt-stall", on(NAVI_48, rocm="7.1.0"), {"rocm": "7.2.0"}),
    Case("gfx1201-hipblaslt-oob", on(NAVI_48, **says(TCP)), {"rocm": "7.1.1"}),
    Case(
        "gfx1201-silent-mes-death",
        on(NAVI_48, hangs=(hang(),)),
        {"hangs": (hang(backend="vulkan"),)},
    ),
    Case("gfx1200-gemm-hardhang", on(NAVI_44, rocm="7.1.1", kernel="7.0.13"), {"kernel": "6.19.2"}),
    Case(
        "gfx1102-preemption",
        on(SOUND, isa=110002, **says("cp queue pipe 0 queue 1 preemption failed")),
        {"isa": 110001},
    ),
    Case("gfx1151-silent-hardhang", on(STRIX_HALO, mes=0x86), {"mes": 0x85}),
    Case(
        "gfx1151-128k-aql-stall",
        on(STRIX_HALO, hangs=(hang(phase="prefill", prompt_tokens=131072),)),
        {"hangs": (hang(phase="prefill", prompt_tokens=99999),)},
    ),
    Case("phoenix-krackan-mes", on(SOUND, isa=110502, **says(MES_LATE)), {"isa": 110501}),
    Case("gfx11-mes-early", on(SOUND, rocm="6.0.2-115", **says(MES_LATE)), {"rocm": "6.1.0-82"}),
    Case(
        "dkms-with-desktop",
        on(SOUND, dkms=True, kernel="6.17.0-14-generic", display=True),
        {"display": False},
    ),
    Case("dkms-on-strix", on(STRIX_HALO, dkms=True), {"dkms": False}),
    Case("vram-15g-kernel", on(STRIX_HALO, kernel="6.16.8", vram=64 * GIB), {"vram": 16 * GIB}),
    Case("gtt-too-small", on(STRIX_HALO, model_bytes=40 * GIB), {"gtt": 60 * GIB}),
    Case(
        "gttsize-deprecated",
        on(SOUND, kernel="6.15.0", cmdline="quiet amdgpu.gttsize=65536"),
        {"cmdline": "quiet ttm.pages_limit=65536"},
    ),
    Case(
        "cmdline-param-not-effective",
        on(SOUND, cmdline="quiet aamdgpu.cwsr_enable=0"),
        {"cmdline": "quiet amdgpu.cwsr_enable=1"},
    ),
    Case(
        "vulkan-compute-timeout",
        on(
            SOUND,
            hangs=(hang(backend="vulkan", log=["vk::Queue::submit: ErrorDeviceLost"]),),
            **says("ring comp_1.0.0 timeout, signaled seq=3, emitted seq=4"),
        ),
        {"log": (f"amdgpu {ADDRESS}: amdgpu: ring comp_1.0.0 test pass",)},
    ),
    Case("runpm-error", on(SOUND, status="error"), {"status": "suspended"}),
    Case(
        "suspend-resume-failure",
        on(SOUND, **says("SMU: I'm not done with your previous command: 0x12")),
        says("SMU is resumed successfully!"),
    ),
    Case("secure-boot-dkms", on(SOUND, dkms=True, secure_boot=True), {"secure_boot": False}),
    Case(
        "previous-reset-this-boot",
        on(SOUND, **says("GPU reset begin!")),
        says("GPU reset disabled"),
    ),
    Case(
        "device-lost-until-reboot",
        on(SOUND, **says("resume of IP block <psp> failed -62")),
        says("resume of IP block <psp> done"),
    ),
    Case(
        "sysfs-read-hangs",
        on(SOUND, hanging=f"sys/bus/pci/devices/{ADDRESS}/mem_info_vram_used"),
        {"hanging": ""},
    ),
    Case(
        "mmap-pageable-upload",
        on(SOUND, hangs=(hang(phase="load"),)),
        {"hangs": (hang(phase="load", age_s=3.9),)},
    ),
    Case(
        "sdma-stall",
        on(SOUND, hangs=(hang(phase="load", detail="hipMemcpyAsync of blk.3"),)),
        {"env": {"HSA_ENABLE_SDMA": "0"}},
    ),
    Case(
        "stream-ordered-alloc",
        on(SOUND, hangs=(hang(log=["in hipFreeAsync(0x7f)"]),)),
        {"hangs": (hang(log=["in hipFree(0x7f)"]),)},
    ),
    Case(
        "hip-vmm",
        on(SOUND, hangs=(hang(log=["hipMemAddressReserve: 8 GiB"]),)),
        {"hangs": (hang(log=["hipMalloc: 8 GiB"]),)},
    ),
    Case(
        "null-stream-mixing",
        on(SOUND, hangs=(hang(log=["waiting in hipDeviceSynchronize"]),)),
        {"hangs": (hang(log=["waiting in hipEventQuery"]),)},
    ),
    Case("idle-busy-queues", on(SOUND, busy=99, processes=1), {"power": 85}),
    Case(
        "apu-memory-overcount",
        on(STRIX_HALO, hangs=(hang(age_s=0.1, log=["hipErrorOutOfMemory"]),)),
        {"isa": 110000},
    ),
    Case("no-blind-retry", on(SOUND, hangs=(hang(), hang())), {"hangs": (hang(), hang(when=1e9))}),
)
