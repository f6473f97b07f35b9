.PHONY: help check test quickstart ci

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

check: ## lint, formatting, types
	ruff check . && ruff format --check . && mypy

test: ## all tests, on two cores
	pytest -n 2

quickstart: ## the whole pipeline in minutes
	python -m gip_exp +experiment=quickstart

ci: ## what a change must pass, in a fresh environment
	bash .ci/run
