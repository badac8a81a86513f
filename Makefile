# Every target does the set-up that it needs, and none needs an activated environment.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-fast test-oracles soak check bench bench-load bench-propagation bench-audit screenshots release lock lock-migrations format clean
# Targets that are not told to wait for each other would otherwise mix their output under `make -j`.
.NOTPARALLEL:

VENV := .venv
PYTHON := $(VENV)/bin/python
# Made when the requirements have been installed; older than them when they have changed since.
INSTALLED := $(VENV)/.installed

# Each `##@ Group` below begins a group of the list.
help: ## Show this list
	@echo 'make TARGET, where TARGET is one of:'
	@sed -n -e 's/^##@ \(.*\)/@\1/p' -e 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do case "$$name" in \
			@*) printf '\n%s\n' "$${name#@}";; *) printf '  %-18s %s\n' "$$name" "$$text";; esac; done

##@ Run
setup: $(INSTALLED) .env ## Make .venv with the pinned requirements, and .env for development

# Looks at each Python on the PATH in turn, since the first may be a shim for a version that is not there.
$(PYTHON):
	@for name in python3.11 python3; do \
		for folder in $$(echo "$$PATH" | tr ':' ' '); do \
			test -x "$$folder/$$name" || continue; \
			"$$folder/$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
			found="$$folder/$$name"; \
			"$$found" -c 'import ensurepip, venv' 2>/dev/null || continue; \
			echo "Making $(VENV) with $$("$$found" --version)"; \
			"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; \
			exit 0; \
		done; \
	done; \
	if test -n "$${found:-}"; then \
		echo "make: $$found cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; \
	else \
		echo 'make: there is no Python 3.11 or newer on the PATH. On Debian: apt-get install python3 python3-venv' >&2; \
	fi; \
	exit 1

# -qq leaves out all but errors, which is what should be seen when it fails.
$(INSTALLED): requirements-dev.txt $(PYTHON)
	@echo 'Installing the requirements (the first time this takes a minute)'
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt || { \
		echo 'make: pip could not install requirements-dev.txt; its message is above' >&2; exit 1; }
	@touch $@

# Complete or not at all, and never readable for others: it holds a key.
.env: | $(PYTHON)
	@umask 077; \
	{ \
		echo '# For development on this machine only. The real environment wins over it; docs/deploy/settings.md lists the variables.'; \
		echo 'APP_ENV=development'; \
		echo "SECRET_KEY=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(48))')"; \
	} > $@.new; \
	mv $@.new $@; \
	echo 'Wrote .env with a new key'

run: setup ## Migrate, make an operator account, and serve on PORT (8000)
	@$(PYTHON) manage.py migrate --noinput
	@$(PYTHON) manage.py create_operator
	@$(PYTHON) -c 'from valhalla.environment import load; print( \
		"\nOpen  http://localhost:{0}/        the public status\n" \
		"      http://localhost:{0}/admin/  to stop and start execution\n" \
		"Ctrl-C ends it.\n".format(load().port))'
	@exec $(PYTHON) -m valhalla

##@ Test
test: setup ## Run all tests, on SQLite and on PostgreSQL (ARGS="-k name" goes to pytest)
	@$(PYTHON) -m tests.run $(ARGS)

test-fast: setup ## Run, on SQLite, what starts no server
	@$(PYTHON) -m tests.run --fast $(ARGS)

test-oracles: setup ## Hold the audit's verdicts on databases against real Alembic and Django, 10,000 random cases each
	@$(PYTHON) -m pytest -q tests/migration_graph/test_positions.py --hypothesis-profile=thorough $(ARGS)

soak: setup ## Stop, start and break a running system for long, and check every answer (ARGS="--minutes 30 --seed 7")
	@$(PYTHON) -m tests.consistency.soak $(ARGS)

# What the settings of production must pass: Render's environment, with a key as its generateValue makes them.
PRODUCTION = APP_ENV=production RENDER_EXTERNAL_HOSTNAME=valhalla.onrender.com \
	DATABASE_URL=postgresql://valhalla:password@database.invalid/valhalla \
	SECRET_KEY="$$($(PYTHON) -c 'import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())')"
# What the tools need to load the settings: no file and no server.
DEVELOPMENT = APP_ENV=development DATABASE_URL=sqlite://:memory:

##@ Check
check: setup ## Format, lint, types, import contracts, migrations (missing, graph, released), deployment check
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(DEVELOPMENT) $(PYTHON) -m mypy
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo
	$(DEVELOPMENT) $(PYTHON) manage.py makemigrations --check --dry-run
	$(DEVELOPMENT) $(PYTHON) manage.py audit_migrations
	@echo '$(PYTHON) manage.py check --deploy --fail-level WARNING  (in the settings of production)'
	@$(PRODUCTION) $(PYTHON) manage.py check --deploy --fail-level WARNING

format: setup ## Format the code and repair what ruff can
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

##@ Measure
bench: setup ## Throughput and latency beside the peers, about 7 minutes (ARGS=--help lists the options)
	@$(PYTHON) -m tests.bench $(ARGS)

bench-propagation: setup ## How long after an acknowledged stop somebody is still let through, about 4 minutes
	@$(PYTHON) -m tests.bench propagation $(ARGS)

bench-load: setup ## The gate and a stop under load on all that is open, with a record of 1.2 million events
	@$(PYTHON) -m tests.bench.pressure $(ARGS)

bench-audit: setup ## Time the migration audit against `alembic heads`, with the goals (ARGS="--rounds 9")
	@$(PYTHON) -m tests.bench.audit $(ARGS)

##@ Other
screenshots: setup ## Take pictures of every page, wide and narrow, light and dark, into screenshots/
	@$(PYTHON) -m tests.screenshots

release: setup ## Build the sdist and the wheel into dist/ and check them (uploads nothing)
	@$(PYTHON) -m tests.release

# Universal: for every system and Python from 3.11 on. Keeps the versions that it finds; ARGS=--upgrade takes the newest.
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: setup ## Write requirements*.txt, exact and with hashes, from requirements*.in (ARGS=--upgrade)
	@$(LOCK) requirements.in --output-file requirements.txt $(ARGS)
	@$(LOCK) requirements-dev.in --output-file requirements-dev.txt $(ARGS)
	@$(LOCK) --no-deps requirements-bench.in --output-file requirements-bench.txt $(ARGS)

# In the commit that adds a migration. A later edit of what it does or follows then fails `make check` and `migrate`.
lock-migrations: setup ## Add new migrations to migrations.lock, which freezes what they do and follow (ARGS=--known)
	@$(DEVELOPMENT) $(PYTHON) manage.py audit_migrations --write-lock $(ARGS)

clean: ## Remove what can be made again (not .env, not the database)
	rm -rf $(VENV) tests/openfeature_js/node_modules .bench staticfiles screenshots build dist *.egg-info .artifacts .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
