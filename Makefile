# Each target sets up .venv first; a second call installs nothing. uv is faster than pip. If uv fails (it does not read
# pip's configuration), pip installs the packages.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
# .venv/installed holds the folder of the checkout. Set .venv up again if the folder was moved or copied, if the Python
# of .venv is gone, or if PYTHON asks for another one.
WHICH := -c "import sys; print(sys.base_prefix, sys.version_info[:2])"
FRESH = [ "$$(cat .venv/installed)" = "$(CURDIR)" ] && found="$$($(BIN)/python $(WHICH) 2>/dev/null)"
ifneq ($(origin PYTHON),file)
FRESH += && [ "$$found" = "$$($(PYTHON) $(WHICH))" ]
endif
ifneq ($(wildcard .venv/installed),)
ifneq ($(shell $(FRESH) && echo yes),yes)
.venv/installed: again
endif
endif
CORE := 01_data_visualization 02_training 03_summary

.PHONY: again help run test bench faults exercises homework notebooks site lint lock address .venv

help:
	@echo "make run        execute the three core notebooks into runs/"
	@echo "make test       run the tests"
	@echo "make bench      compare the speed of the default recipe and the reference"
	@echo "make faults     inject faults, and show the messages"
	@echo "make exercises  generate the exercise notebooks from the solutions"
	@echo "make homework   write the exercise notebooks without their solutions into homework/"
	@echo "make lint       check style and types"
	@echo "make notebooks  execute the notebooks in place, on full MNIST"
	@echo "make site       build the course's website into site/"
	@echo "make lock       update requirements.lock to the newest packages (needs uv)"
	@echo "make address    write the repository's address (git's origin, or REPO=owner/name) into its files"
	@echo "make .venv      only set up .venv"

run: .venv
	@$(BIN)/mnist-s5 run $(CORE)

# Two processes with one thread each are faster than one process with two threads.
test: .venv
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

bench: .venv
	@$(BIN)/python benchmarks/time_to_accuracy.py

faults: .venv
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m fault tests

exercises: .venv
	@$(BIN)/python scripts/make_exercises.py

homework: .venv
	@$(BIN)/python scripts/make_exercises.py --without-solutions homework

notebooks: .venv
	@$(BIN)/python scripts/execute_notebooks.py

site: .venv/docs
	@rm -rf site .venv/doctrees
	@$(BIN)/python -m sphinx -W --keep-going -q -d .venv/doctrees -c docs . site
	@echo "The website is in site/. Open site/index.html in a browser."

lint: .venv
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock:
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --extra test --group build pyproject.toml -o requirements.lock

address:
	@$(PYTHON) scripts/address.py "$(REPO)"

.venv: .venv/installed

again:
	@echo "This folder, or its Python, has changed."
	@rm -rf .venv

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) scripts/check_machine.py
	@echo "Setting up .venv: this downloads PyTorch and takes a few minutes."
	@$(PYTHON) -m venv .venv
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install -q --disable-pip-version-check uv || true
	@PATH="$$PWD/$(BIN):$$PATH"; \
	if uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock 2>/dev/null; then \
	  uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@printf %s "$(CURDIR)" > .venv/installed

.venv/docs: .venv/installed
	@PATH="$$PWD/$(BIN):$$PATH"; \
	uv pip install -q --python $(BIN)/python --no-build-isolation -e ".[docs]" 2>/dev/null || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[docs]"
	@touch .venv/docs
