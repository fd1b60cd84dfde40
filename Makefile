# Everything a new machine needs is installed by `make setup`, which the other targets run first.
# It takes about a minute the first time and nothing after that.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run demo test check bench lock format clean

setup: .venv/.installed
	@deploy/asterisk/install.sh > .venv/asterisk-root.part && mv .venv/asterisk-root.part .venv/asterisk-root

.venv/.installed: requirements.lock pyproject.toml deploy/python.sh
	@deploy/python.sh "$(PYTHON)"

run: setup
	@$(BIN)/python -m ivr_server run --local

demo: setup
	@$(BIN)/python -m ivr_server demo

test: setup
	@$(BIN)/python -m pytest -q

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m ivr_server check

bench: setup
	@$(BIN)/python -m benchmarks

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# After a change of dependencies in pyproject.toml.
lock: .venv/.installed
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock

clean:
	rm -rf .venv .ivr build *.egg-info
