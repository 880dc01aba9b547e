"""Every command of the pages is run, in the order of its page, as a reader would."""

import re

import pytest

from tests.docs import pages
from tests.docs.page_files import write_page_files
from tests.docs.reader import Reader, earlier_commands

pytestmark = pytest.mark.slow

# What needs something that a test has not: a network, a server, Google Cloud, another shell.
UNREACHABLE = (
    "pip install",
    "docker ",
    "gcloud ",
    "make ",
    "source ",
    "curl ",
    "hf ",
    "git ",
    "podtune deploy",
    "tensorboard ",
    "python -m trainer.vertex",
)
# What takes minutes and has tests of its own.
SEEN_ELSEWHERE = {
    "podtune doctor > report.txt": "tests/podtune/test_doctor.py",
    "--plan.tpu": "tests/planning",
}


def is_reachable(line: str) -> bool:
    if "podtune submit" in line:
        return "--dry_run" in line
    if any(part in line for part in SEEN_ELSEWHERE):
        return False
    return not any(re.search(rf"(^|[|&;]\s*){re.escape(start)}", line) for start in UNREACHABLE)


def steps(page):
    """Commands and blocks of Python, as they come; None where a block begins."""
    for block in pages.BLOCK.finditer(page.read_text("utf-8")):
        if block[2] == "python" and "import podtune" in block[3]:
            yield block[3]
        elif block[2] == "console":
            yield None
            yield from pages.commands_of(block[3])


WITH_STEPS = [page for page in pages.PAGES if any(steps(page))]


@pytest.mark.parametrize("page", WITH_STEPS, ids=pages.name)
def test_every_command_of_a_page(page, tmp_path):
    reader = Reader(tmp_path)
    lines = [command.line for command in pages.commands(page)]
    earlier = earlier_commands(lines)
    write_page_files(reader.work, "\n".join([page.read_text("utf-8"), *earlier]))
    for line in earlier:
        assert reader.runs(line).returncode == 0, line
    for step in steps(page):
        if step is None:
            reader.opens_a_shell()
        elif isinstance(step, str):
            done = reader.runs_python(step)
            assert done.returncode == 0, f"{step}\n{done.stdout[-3000:]}"
        elif is_reachable(step.line):
            done = reader.runs(step.line)
            assert done.returncode == step.exit_code, f"{step.line}\n{done.stdout[-3000:]}"
            assert ("error: " in done.stdout) == step.fails, f"{step.line}\n{done.stdout[-3000:]}"
