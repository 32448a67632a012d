# Every target installs the project into .venv first, when that is missing or out of date.
#
#   make schedule MODEL=squeezenet ARGS="--batch 4"
#   make train ARGS="--seed 3"
#   make test
#   make TORCH_INDEX=https://download.pytorch.org/whl/cpu test     # PyTorch's smaller CPU wheels

PYTHON ?= python3
TORCH_INDEX ?=
MODEL ?= resnet50
CONFIG ?= configs/training/default.yaml
schedule: ARGS ?= --batch 16

PY := .venv/bin/python
STAMP := .venv/.installed
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Idle OpenMP threads sleep instead of spinning, which matters where several processes share few cores.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: schedule train test lint bench clean

schedule: $(STAMP)
	$(PY) -m scripts.schedule $(MODEL) $(ARGS)

train: $(STAMP)
	$(PY) -m scripts.train --config $(CONFIG) $(ARGS)

# Tests run side by side; more than four processes would each compile the same code first.
test: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(STAMP)
	$(PY) -m benchmarks $(or $(ARGS),all)

clean:
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "oncore needs Python 3.11 or newer, and '$(PYTHON)' is not that." \
	       "Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install $(INDEX) -c constraints.txt -e '.[dev]'
	touch $@
