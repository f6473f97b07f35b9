.PHONY: help check test quickstart audit ci

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

check: ## lint, formatting, types
	ruff check . && ruff format --check . && mypy

test: ## all tests, on two cores
	pytest -n 2

quickstart: ## the whole pipeline in minutes
	python -m gip_exp +experiment=quickstart

audit: ## known vulnerabilities of everything installed here (needs pip-audit and a network)
	pip freeze --exclude-editable | grep -v ' @ ' | sed 's/+.*//' > .audit.txt
	pip-audit --strict --no-deps --disable-pip -r .audit.txt; status=$$?; rm .audit.txt; exit $$status

ci: ## what a change must pass, in a fresh environment
	bash .ci/run
