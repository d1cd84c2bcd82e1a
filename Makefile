# Every target does its own set-up: a virtual environment in $(VENV), made again when setup.cfg changes.
VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
OUT ?= output

.PHONY: demo quickstart test check tests clean tiny-clip tiny-cat-seg bench

demo: $(READY)          ## segment drawn scenes and score them, offline
	$(RUN) demo/quickstart.py --output $(OUT)/quickstart
	$(RUN) demo/global_patch.py --config-file configs/quickstart/cliptrase.yaml --device cpu \
	    --input $(OUT)/quickstart/pictures/scene_001.png --output $(OUT)/quickstart/pictures

quickstart: $(READY)    ## train CAT-Seg on drawn scenes, score it and the training-free methods, offline
	$(RUN) demo/quickstart.py --output $(OUT)/quickstart --train

test: $(READY) check tests  ## lint, types and tests

check: $(READY)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

tests: $(READY)
	$(RUN) -m pytest --cov=cliptrase --cov=cat_seg --cov=ovss.clip --cov=ovss.inference --cov=ovss.sliding_window --cov=ovss.labels \
	    --cov=ovss.pruning --cov=ovss.metrics --cov=ovss.datasets --cov=ovss.download --cov=ovss.weights \
	    --cov=ovss.predictor --cov=ovss.segmentation --cov=ovss.models --cov=ovss.bulk.jobs --cov=ovss.bulk --cov=ovss.bulk.video --cov-report= \
	    --cov-fail-under=95 $(PYTEST_ARGS)

bench: $(READY)         ## speed and memory of all parts in less than ten minutes: Markdown here, JSON in $(OUT)/bench
	$(RUN) benchmarks/run.py --output $(OUT)/bench

tiny-clip: $(READY)     ## train the embedded CLIP again
	$(RUN) -m ovss.assets.train_tiny --output ovss/assets

tiny-cat-seg: quickstart  ## embed the CAT-Seg that the quickstart trains
	$(RUN) -m ovss.assets.halve $(OUT)/quickstart/cat_seg/model_final.safetensors ovss/assets/tiny_cat_seg.safetensors

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info
