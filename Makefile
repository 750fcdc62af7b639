# make demo   match a pair with known geometry and write demo.png
# make test   lint and run the whole suite
# make aot    compile every kernel for a GPU that is not there
# make adapters   try astr_jax.adapters on torch, kornia and vismatch, in .venv-adapters; and on hloc
#   and glue-factory, which pip does not have, where PYTHONPATH names folders of their repositories.
#   Where pip's torch and torchvision are the large ones for GPUs, TORCH='...' names those for CPUs: both of a kind.
# make fuzz   ask every public door 10,000 odd questions (EXAMPLES=N SEED=N)
# make soak   match in four threads for MINUTES=30: memory, open files and compiled programs stay level;
#   writes build/soak.json and build/soak.png, and fails where something grows to the end. Linux alone.
# make simulate-bulk   write, kill, resume and gather the invented matches of 20,000 pairs (OUT=build/bulk)
# make web    build the page that matches two pictures in a browser, into astr_jax/page: astr demo --web
#   serves it, and wheels bring it. Needs Node.js 20 or newer with npm. WEB='--float16' or '--size 640x480'.
# make web-test   the same, and the tests of the page; those in a browser need chromium (CHROMIUM=...)
# All need only Python >= 3.11 and make: they create .venv and install into it.
#
# make pack-data OUT=data.npz PHOTOS=DIR SCENES=DIR
#   Writes photographs and real scenes into one file of at most MOST=38 MiB, grey, of a long side of SIDE=400.
#   Where that is too much the quality of all pictures gives way, down to 40, then photographs, evenly by
#   their order. WITHOUT='street2 garden' leaves out scenes that are kept to measure on.
# make train-gpu DATA=data.npz MINUTES=9
#   Trains CONFIG=small in bfloat16 on the GPUs of this machine for so long, half of the batches real scenes,
#   with that file, the packages of the Python that is there and no network. Pairs are made by a thread
#   for each core. The newest weights lie in RUN=runs/small every minute: weights.safetensors.
#   The same command goes on, and compiles nothing again (runs/compiled). From weights alone, on another
#   machine: MORE='--init weights.safetensors --set train.start_pairs=N', N as the run before said at its end.
#   BY_CLOCK=yes: stages and the cosine of the learning rate end with the minutes; nothing is validated.
#   PHOTOS=photos.npz in DATA's place: homographies of photographs alone.

# make measure PAIRS=DIR PHOTOS=DIR POSED='DIR ...'
#   What the documents say of the tiny that ships: its report, the tables of docs/results.md, the pictures of
#   the model card, and on the screen the other figures. Over an hour on two CPU cores, by estimate.

PYTHON ?= python3
RUN ?= runs/$(CONFIG)
MINUTES ?= 9
CONFIG ?= small
SIDE ?= 400
MOST ?= 38
EXAMPLES ?= 10000
OUT ?= build/bulk
SEED := $(or $(SEED),$(shell date +%s))
BIN := .venv/bin
TORCH ?= torch torchvision
ADAPTERS := .venv-adapters
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

REPORTS := $(foreach name,tiny sift rootsift orb akaze,docs/results/$(name).json)

.PHONY: demo test aot adapters fuzz soak simulate-bulk web web-test pack-data train-gpu measure lint format clean

demo: .venv/installed
	$(BIN)/astr demo --out demo.png

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

aot: .venv/installed
	$(BIN)/python -m pallas_kernels.sparse_attention.aot

adapters: $(ADAPTERS)/installed
	$(ADAPTERS)/bin/python -m pytest tests/adapters -W default

fuzz: .venv/installed
	@echo 'seed $(SEED); the same again: make fuzz EXAMPLES=$(EXAMPLES) SEED=$(SEED)'
	ASTR_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$(SEED)

soak: MINUTES = 30
soak: .venv/installed
	ASTR_SOAK=$(MINUTES) $(BIN)/python -m pytest tests/soak -s

simulate-bulk: .venv/installed
	$(BIN)/astr eval store --out $(OUT)

web: astr_jax/page/index.html

web-test: astr_jax/page/index.html
	cd web && npm test
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/web -s

pack-data: OUT = data.npz
pack-data: .venv/installed
	@: $(foreach name,PHOTOS SCENES,$(if $($(name)),,$(error make pack-data needs $(name)=DIR)))
	$(BIN)/astr data pack $(PHOTOS) --scenes $(SCENES) $(if $(WITHOUT),--without $(WITHOUT)) --out $(OUT) \
	  --side $(SIDE) --most $(MOST)

train-gpu: export JAX_COMPILATION_CACHE_DIR ?= runs/compiled
train-gpu:
	@: $(if $(DATA)$(PHOTOS),,$(error make train-gpu needs DATA=FILE))
	$(PYTHON) train.py $(CONFIG) --photos $(or $(DATA),$(PHOTOS)) --workdir $(RUN) --minutes $(MINUTES) \
	  $(if $(DATA),--tracks $(DATA) --set tracks_share=0.5) --set model.dtype=bfloat16 \
	  $(if $(BY_CLOCK),--by-clock --set validation.photo_pairs=0) $(MORE)

measure: .venv/installed
	@: $(foreach name,PAIRS PHOTOS POSED,$(if $($(name)),,$(error make measure needs $(name)=DIR)))
	$(BIN)/astr eval pairs $(PAIRS) --weights tiny --name 'astr tiny' --out docs/results/tiny.json
	$(BIN)/astr eval table $(REPORTS) --into docs/results.md
	$(BIN)/astr eval compare docs/results/sift.json docs/results/tiny.json
	$(BIN)/astr eval compare docs/results/rootsift.json docs/results/tiny.json
	$(BIN)/astr eval compare docs/results/orb.json docs/results/tiny.json
	$(BIN)/astr eval places $(PAIRS) --weights tiny --png docs/places.png --into docs/results.md
	$(BIN)/astr eval sweep --photos $(PAIRS)/synthetic/images/*_0.jpg --count 12 \
	  --weights tiny --matcher sift orb --png docs/sweep.png
	$(BIN)/astr eval phases --weights tiny --matcher sift --png docs/phases.png --into docs/results.md
	$(BIN)/astr eval covariance $(PAIRS) --sets synthetic --weights tiny
	$(BIN)/astr eval gallery --weights tiny --out docs/gallery.jpg
	mkdir -p build
	$(BIN)/astr eval pairs $(PAIRS) --weights tiny --upright --name upright --out build/upright.json
	$(BIN)/astr eval compare build/upright.json docs/results/tiny.json
	$(BIN)/astr eval pairs $(PAIRS) --weights tiny --upright --no-polish --name plain \
	  --out build/plain.json
	$(BIN)/astr eval compare build/plain.json build/upright.json
	$(BIN)/astr eval spots --weights tiny --photos $(PHOTOS)
	$(BIN)/astr eval scaling --weights tiny --photos $(PHOTOS) --pairs 128
	$(BIN)/astr eval scaling --weights tiny --photos $(PHOTOS) --pairs 64 --cells true
	$(BIN)/astr eval scaling --weights tiny --posed folders $(POSED) --pairs 128
	$(BIN)/astr bench --out docs/results/speed.json --png docs/speed.png --into docs/results.md
	$(BIN)/astr demo --out demo.png
	$(BIN)/astr demo town --out docs/demo.png

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

.venv/with-onnx: .venv/installed
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[dev,onnx]'
	touch $@

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	touch $@

web/public/model/about.json: .venv/with-onnx $(wildcard astr_jax/export/*.py astr_jax/export/lowering/*.py astr_jax/weights/*.safetensors)
	$(BIN)/astr export --web web/public/model $(WEB)

astr_jax/page/index.html: web/public/model/about.json web/node_modules/.package-lock.json web/index.html $(wildcard web/*.ts web/build/* web/public/* web/src/*.ts web/src/*/*)
	cd web && npm run build
	touch $@

# Of vismatch the class that its matchers derive from is enough, without the packages of its models.
$(ADAPTERS)/installed: pyproject.toml
	$(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/pip install --quiet $(TORCH)
	$(ADAPTERS)/bin/pip install --quiet kornia huggingface_hub omegaconf packaging yacs
	$(ADAPTERS)/bin/pip install --quiet --no-deps vismatch
	PYTHONWARNINGS=ignore $(ADAPTERS)/bin/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv $(ADAPTERS) astr_jax/page web/node_modules web/public/model .gpu_compiler build *.egg-info .pytest_cache .ruff_cache .hypothesis
