"""That glibc keeps its memory in our processes, and that whoever decided otherwise is obeyed."""

import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.toy import ROOT
from trainer import task
from trainer.machine import allocator, start
from trainer.machine import hardware as machine
from trainer.serve import proof

on_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="only glibc has these settings"
)
BLOCK_MB = 100
PAGES = (BLOCK_MB << 20) // os.sysconf("SC_PAGE_SIZE")
# A block is taken, written to and freed twice, as in two steps of training.
PROGRAM = f"""
import ctypes, json, resource, sys
name = "as it comes"
if "keep" in sys.argv:
    from trainer.machine.allocator import keep_memory
    name = keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc({BLOCK_MB} << 20)
    libc.memset(block, 1, {BLOCK_MB} << 20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
step()
print(json.dumps([name, step()]))
"""


def second_step(*arguments, **variables):
    """The allocator's name, and how many pages a second step faults in."""
    own = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    own.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**own, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@on_glibc
def test_a_second_step_faults_in_no_page_again():
    assert second_step()[1] > PAGES / 2  # else the test proves nothing
    name, faults = second_step("keep")
    assert name.startswith("glibc ") and name.endswith(" that keeps its memory")
    assert faults < PAGES / 100


@on_glibc
def test_a_process_without_our_code_gets_the_same_from_its_environment():
    name, faults = second_step(**allocator.environment({}))
    assert name == "as it comes" and faults < PAGES / 100


@on_glibc
@pytest.mark.parametrize(
    ("variables", "who"),
    [
        ({"MALLOC_ARENA_MAX": "4"}, "MALLOC_ARENA_MAX"),
        ({"MALLOC_MMAP_THRESHOLD_": "65536"}, "MALLOC_MMAP_THRESHOLD_"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7:glibc.malloc.mmap_max=100"},
            "GLIBC_TUNABLES (mmap_max)",
        ),
    ],
)
def test_what_the_environment_says_of_glibc_counts(variables, who):
    name, faults = second_step("keep", **variables)
    assert name.endswith(f" as {who} says")
    assert faults > PAGES / 2
    assert allocator.environment(variables) == variables


@on_glibc
def test_a_tunable_of_something_else_does_not_count():
    name, faults = second_step("keep", GLIBC_TUNABLES="glibc.malloc.tcache_count=7")
    assert name.endswith(" that keeps its memory") and faults < PAGES / 100


@on_glibc
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("libtcmalloc_minimal.so.4", "tcmalloc"),
        ("libjemalloc.so.2", "jemalloc"),
        ("libours.so", "libours.so"),
    ],
)
def test_a_preloaded_allocator_is_left_alone(tmp_path, library, name):
    code = tmp_path / "malloc.c"
    code.write_text(
        "#include <stddef.h>\n"
        "void *__libc_malloc(size_t size);\n"
        "void *malloc(size_t size) { return __libc_malloc(size); }\n"
        "int mallopt(int parameter, int value) { __builtin_trap(); }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / library, code], check=True)
    assert second_step("keep", LD_PRELOAD=str(tmp_path / library))[0] == name


@pytest.mark.parametrize(("platform", "name"), [("linux", "musl"), ("darwin", "that of darwin")])
def test_another_libc_is_left_alone(monkeypatch, platform, name):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # without any function
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    assert allocator.keep_memory.__wrapped__() == name
    allocator.release_memory()


def test_every_mode_sets_it_before_tensorflow_allocates(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(start, "keep_memory", lambda: calls.append("keep_memory"))

    def stop():
        calls.append("import")
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "_import_quietly", stop)
    monkeypatch.setattr("trainer.console.stopping.StopSignal.listen", lambda self: None)
    for mode in ("train", "plan"):
        with pytest.raises(KeyboardInterrupt):
            task.main(
                [
                    "",
                    f"--job_dir={tmp_path}",
                    f"--mode={mode}",
                    "--data.source=csv",
                    "--data.train=x.csv",
                    "--head.name=classification",
                    "--backbone.weights=x",
                ]
            )
    assert calls == ["keep_memory", "import"] * 2


def test_the_proof_has_it_in_its_environment():
    found = proof._cpu_environment({"HOME": "/home/x"})
    assert found.items() >= {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0"}.items()
    assert "MALLOC_ARENA_MAX" not in proof._cpu_environment({"MALLOC_MMAP_MAX_": "9"})


def test_results_say_what_a_run_ran_on(trained):
    found = json.loads((trained / "results.json").read_text())["machine"]
    assert set(found) == {"processor", "cores", "memory_gb", "allocator"}
    assert found["cores"] >= 1 and found["processor"] and found["allocator"]


@pytest.mark.parametrize(
    ("text", "processor"),
    [
        ("model name\t: AMD EPYC 7B13\nflags\t\t: fpu avx avx2 fma\n", "AMD EPYC 7B13 (AVX2)"),
        ("model name\t: Xeon\nflags\t\t: avx2 avx512f amx_tile\n", "Xeon (AMX)"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", f"{os.uname().machine} (NEON)"),
        ("", os.uname().machine),
    ],
)
def test_processors_by_name_and_vectors(monkeypatch, tmp_path, text, processor):
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.this_machine().processor == processor


def test_memory_is_the_container_s_where_that_has_a_limit(monkeypatch, tmp_path):
    whole = machine.memory_bytes()
    limits = [tmp_path / "memory.max", tmp_path / "none"]
    monkeypatch.setattr(machine, "CGROUP_LIMITS", limits)
    limits[0].write_text("max\n")
    assert machine.memory_bytes() >= whole
    limits[0].write_text("1073741824\n")
    assert machine.memory_bytes() == 2**30


def test_without_the_kernel_s_files_the_machine_is_still_told(monkeypatch):
    monkeypatch.setattr(machine, "CPU_INFO", pathlib.Path("/nowhere"))
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (pathlib.Path("/nowhere"),))
    monkeypatch.delattr(os, "sched_getaffinity")
    found = machine.this_machine()
    assert found.processor and found.cores == os.cpu_count()
