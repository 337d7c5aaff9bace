# make install the virtual environment, with the command .venv/bin/maestro-lab
# make demo    the main job on real data: groups, pretraining, reconstruction, probes, one report
# make test    every test, as the continuous integration runs them
# make lab     JupyterLab on the notebooks
# make lint    ruff and nbstripout
# make bench   benchmarks, as ratios
# make clean   remove what the others made; runs/ is kept
#
# Each makes its virtual environment in .venv when it is missing or older than its inputs.

PYTHON ?= python3
CUBE ?= romania

.DEFAULT_GOAL := help
.PHONY: help demo test lab lint bench clean install

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where pip looks for wheels beside the index, uv shall look too.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("maestro_lab needs Python 3.11 or newer; " + sys.executable + " is " + sys.version.split()[0] + ". Say which: make PYTHON=/path/to/python3.11")'
	@echo "Installing into $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install -q uv; then \
	  $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[demo,lab,hub,olmoearth,stac,dev]'; \
	else \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[demo,lab,hub,olmoearth,stac,dev]'; \
	fi
	@touch $(READY)
	@echo "Installed. Next: make lab, or $(BIN)/maestro-lab run notebooks/00_tour.ipynb"

demo: $(READY)
	@BIN=$(BIN) sh notebooks/demo.sh $(CUBE)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

lab: $(READY)
	$(BIN)/jupyter lab notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb notebooks/solutions/*.ipynb

bench: $(READY)
	@for b in $(filter-out %/plain.py %/peak.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$b"; $(BIN)/python $$b || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
