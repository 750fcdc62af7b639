# make demo   match a pair with known geometry and write demo.png
# make test   lint and run the whole suite
# make aot    compile every kernel for a GPU that is not there
# All need only Python >= 3.11 and make: they create .venv and install into it.
#
# make train-gpu PHOTOS=photos.npz RUN=runs/small MINUTES=9
#   Trains `small` in bfloat16 on the GPUs of this machine for so long, with the packages of the Python
#   that is there and no network. The same command goes on, and compiles nothing again (runs/compiled).
#   From weights alone, on another machine: MORE='--init weights.safetensors --set train.start_pairs=N',
#   N as the run before said at its end.

PYTHON ?= python3
RUN ?= runs/small
MINUTES ?= 9
BIN := .venv/bin

.PHONY: demo test aot train-gpu lint format clean

demo: .venv/installed
	$(BIN)/astr demo --out demo.png

test: lint
	$(BIN)/python -m pytest -n 2

aot: .venv/installed
	$(BIN)/python -m pallas_kernels.sparse_attention.aot

train-gpu: export JAX_COMPILATION_CACHE_DIR ?= runs/compiled
train-gpu:
	$(PYTHON) train.py small --photos $(PHOTOS) --workdir $(RUN) --minutes $(MINUTES) \
	  --set model.dtype=bfloat16 $(MORE)

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
