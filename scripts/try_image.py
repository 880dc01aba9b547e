"""Executes the steps of a Dockerfile in a plain virtual environment, then trains a toy with what
they installed.

usage: try_image.py docker/cpu.Dockerfile [PYTHON]

For machines without Docker. COPY goes into a folder that stands for WORKDIR; useradd and links into
/lib are left out.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEFT_OUT = ("useradd", "ln -s")
TOY = """
import pathlib, sys
sys.path.insert(0, {root!r})
from tests import toy
folder = pathlib.Path(sys.argv[1])
rows = toy.write_sentences(folder / "train.jsonl", 64)
print(
    toy.write_config(
        folder,
        toy.write_checkpoint(folder / "weights"),
        rows,
        data={{"validation": 0.25}},
        train={{"steps": 3}},
        export={{"format": "savedmodel", "check_examples": 4}},
    )
)
"""


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined."""
    lines = [
        line
        for line in re.sub(r"\\\n\s*", " ", dockerfile).splitlines()
        if line and not line.startswith("#")
    ]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def main(dockerfile: pathlib.Path, python: str) -> None:
    """Raises CalledProcessError at the first step that fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place, "app")
        venv = pathlib.Path(place, "venv")
        folder.mkdir()
        subprocess.run([python, "-m", "venv", venv], check=True)
        environment = {
            **os.environ,
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "PIP_NO_CACHE_DIR": "1",
            "HOME": place,
        }
        # tensorflow-tpu asks Google's metadata server for minutes where there is none
        environment["TPU_SKIP_MDS_QUERY"] = "1"
        steps = instructions(dockerfile.read_text(encoding="utf-8"))
        for kind, rest in steps:
            if kind == "COPY":
                source = rest.split()[:-1]
                target = rest.split()[-1]
                for name in source:
                    (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
                        ROOT / name,
                        folder / (pathlib.Path(name).name if target == "./" else target),
                    )
            elif kind == "RUN" and not any(word in rest for word in LEFT_OUT):
                print(f"RUN {rest}", flush=True)
                subprocess.run(rest, shell=True, check=True, cwd=folder, env=environment)
            elif kind == "ENV":
                environment |= dict(re.findall(r"(\w+)=(\S+)", rest))
        command = json.loads(next(rest for kind, rest in steps if kind in ("ENTRYPOINT", "CMD")))[
            :3
        ]
        shutil.rmtree(folder / "trainer")  # what runs is what was installed
        toy = pathlib.Path(place, "toy")
        toy.mkdir()
        config = subprocess.run(
            [venv / "bin" / "python", "-c", TOY.format(root=str(ROOT)), toy],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
        ).stdout.strip()
        # tensorflow-tpu cannot compile for this machine, and so not train on it.
        mode = ["--mode=plan"] if dockerfile.name == "tpu.Dockerfile" else []
        subprocess.run(
            [*command, f"--config={config}", f"--job_dir={place}/job", *mode],
            check=True,
            cwd=folder,
            env=environment,
        )
        subprocess.run(
            ["pip", "check"], check=dockerfile.name != "tpu.Dockerfile", cwd=folder, env=environment
        )
        asked = [python, "--version"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        print(f"{dockerfile}: its steps work with {version}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else sys.executable)
