# `make demo` runs the main job, `make test` passes the tests; both install what they need into .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test check clean

demo: $(INSTALLED)
	$(BIN)/python -m ovps_core segment tests/data/desk.png "knife handle" "mug handle" --output out/demo.png

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[dev,render,train,bags,onnx,openvino,bench]"
	touch $@

clean:
	rm -rf .venv build out runs
