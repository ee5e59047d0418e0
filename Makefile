# Needs make and Python 3.11 or newer with venv; everything else goes into .venv.

PYTHON ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

# The commands in an environment know its folder by its full path, so one that was moved or copied is made anew.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
AGAIN := again
endif

# Two processes share the tests, module by module, in the order in which tests/conftest.py puts them.
SIDE_BY_SIDE := -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: help demo up test cover lint bench chaos pythons mutants clean $(AGAIN)
.NOTPARALLEL:

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-7s %s\n' "$$name" "$$text"; \
	done

demo: $(INSTALLED) ## take a guided tour: train, classify, turn a flag; about two minutes
	@$(BIN)/pointsman demo $(ARGS)

up: $(INSTALLED) ## run Redis, workers, trainer, beat and Flower here until Ctrl-C
	@$(BIN)/pointsman up $(ARGS)

test: $(INSTALLED_DEV) ## run the tests (ARGS="-k ledger" chooses)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

cover: $(INSTALLED_DEV) ## run all tests, the slow ones too, and list the files that they run too little of
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SIDE_BY_SIDE) -m '' $(ARGS); status=$$?; .ci/coverage $(BIN)/coverage; exit $$status

lint: $(INSTALLED_DEV) ## check style, formatting, types, the layering and the Lua scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v luacheck >/dev/null; then luacheck --quiet .; else \
		echo "luacheck is not installed (Debian: apt install lua-check), so the Lua scripts are not checked"; \
	fi

bench: $(INSTALLED_DEV) ## measure throughput and latency on this machine
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(INSTALLED_DEV) ## kill, cut and choke a real deployment, and count what became of the work
	$(BIN)/python -m tests.chaos $(ARGS)

pythons: ## run the unit and contract tests on Python 3.12 and 3.13, where they are at hand
	.ci/pythons $(ARGS)

mutants: $(INSTALLED_DEV) ## make small mistakes, and list those that no quick test notices (ARGS="--sample 50 --seed 1 --package models")
	$(BIN)/python -m tests.mutants $(ARGS)

clean: ## remove .venv and what the tools leave behind; models/registry and .pointsman stay
	rm -rf $(VENV) $(VENV)-3.* build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt $(AGAIN)
	@if [ -n "$(AGAIN)" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python=$$(sh -c "$$FIND_PYTHON") && "$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing Pointsman into $(VENV); this takes a minute or two the first time."
	@$(PIP) install -c constraints.txt -e '.[all]'
	@echo "$(CURDIR)" > $@

# Dependency groups are understood from pip 25.1 on, and a fresh environment has the pip of its Python's release.
$(INSTALLED_DEV): $(INSTALLED)
	@echo "Installing the development tools."
	@$(PIP) install 'pip>=25.1'
	@$(PIP) install -c constraints.txt --group dev
	@touch $@

# Prints the Python to use, or says on stderr what is missing. Without a redis-server on the PATH the embedded one is
# needed, whose wheels exist for 3.11 and 3.12.
define FIND_PYTHON
names="python3.12 python3.11 python3.13 python3"
if command -v redis-server >/dev/null 2>&1; then names="python3.13 python3.12 python3.11 python3"; fi
old=""; bare=""
for name in $${PYTHON:-$$names}; do
  version=$$("$$name" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
  if ! "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    old="$$old $$name ($$version)"
  elif ! "$$name" -c 'import ensurepip, venv' 2>/dev/null; then
    bare="$$bare $$name ($$version)"
  else
    echo "$$name"
    exit 0
  fi
done
if [ -n "$$bare" ]; then
  echo "Pointsman needs Python's venv module, which is missing from:$$bare." >&2
  echo "Install python3-venv (Debian and Ubuntu: apt install python3-venv), then run make again." >&2
else
  echo "Pointsman needs Python 3.11 or newer; found:$${old:- none}." >&2
  echo "If it is installed under another name: make PYTHON=/path/to/python ..." >&2
fi
exit 1
endef
export FIND_PYTHON
export PYTHON
