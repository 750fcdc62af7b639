# make demo   match a pair with known geometry and write demo.png
# make test   lint and run the whole suite
# make aot    compile every kernel for a GPU that is not there
# All need only Python >= 3.11 and make: they create .venv and install into it.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test aot lint format clean

demo: .venv/installed
	$(BIN)/astr demo --out demo.png

test: lint
	$(BIN)/python -m pytest -n 2

aot: .venv/installed
	$(BIN)/python -m pallas_kernels.sparse_attention.aot

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .gpu_compiler build *.egg-info .pytest_cache .ruff_cache .hypothesis
