# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The targets; tests/tools does the work. Only python3 (3.11 or newer, with venv) and git are required.

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint sanity unit packaging browser apiserver molecule matrix upstream down clean clean-cache

RUN_TESTS := python3 tests/tools/run_tests.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## build .venv with locked tools (10 s, the first time 1-2 min; does nothing if it is up to date)
	@python3 tests/tools/environments.py ensure dev

# KUBECONFIG is used only from make's command line; the one in the environment may be any cluster.
demo: ## create a kind cluster with Istio and send a request through it (1 min; the first time builds for 30 min). KUBECONFIG=FILE [VARS=FILE] uses your cluster
	@python3 tests/tools/demo.py $(if $(filter command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)') $(if $(VARS),--vars '$(VARS)')

test: ## run lint, sanity, unit, packaging, browser, apiserver and molecule (22 min; the first time builds for 37 min)
	@$(RUN_TESTS)

bench: setup ## measure preflight on a large cluster, then site.yml and istioctl in turns on one kind cluster (9 min). Writes build/bench*.json
	@.venv/bin/python tests/bench/preflight.py
	@.venv/bin/python tests/bench

lint: ## run ansible-lint, yamllint, ruff, shellcheck, and check changelog and documentation (20 s)
	@$(RUN_TESTS) lint

sanity: ## run ansible-test sanity on a copy (15 s; 1 min the first time)
	@$(RUN_TESTS) sanity

unit: ## run the unit tests on ansible-core 2.16, 2.19 and the newest, and check what a run leaves behind (4 min)
	@$(RUN_TESTS) unit

packaging: ## test the archive, galaxy-importer and a clone run like AWX runs it (3 min)
	@$(RUN_TESTS) packaging

browser: ## test the report in headless chromium: errors, requests, accessibility, print (1 min; installs chromium the first time)
	@$(RUN_TESTS) browser

apiserver: ## run the tests that need only API servers: current, hardened, with OpenShift's kinds, with PodSecurityPolicy (7 min; the first time builds for 12 min)
	@$(RUN_TESTS) apiserver

molecule: ## run kvm on a kind cluster, then the tests that need one; cloud and airgap on their own clusters; psp, psa and scc on API servers only (18 min; the first time builds for 37 min)
	@$(RUN_TESTS) molecule pod-security

matrix: ## run the long apiserver tests, the others also on Kubernetes 1.32, 1.34 and 1.36, the faults that a diagnosis must find, every molecule scenario, and the unit tests on every ansible-core including the next release candidate (2 hours; the first time builds for 65 min)
	@$(RUN_TESTS) unit cores apiserver apiserver-long apiserver-matrix faults molecule pod-security molecule-matrix

# Not part of `make test`, because tests never connect to other machines.
upstream: ## check that every internet address that a run fetches from still exists (1 min). Error 3: not reachable from this machine
	@python3 tests/tools/upstream.py

down: ## delete the demo's cluster (5 s)
	@python3 tests/tools/demo.py --down

clean: ## delete every cluster of the test bed, .venv and all build output, but not the caches
	@python3 tests/testbed down --all
	rm -rf .venv build istio-report .ansible .pytest_cache .ruff_cache tests/output inventories/kind/group_vars/all/testbed.yml molecule/*/group_vars
	find . -name __pycache__ -prune -exec rm -rf {} +

clean-cache: ## delete the caches; the next setup and cluster start from scratch
	@python3 tests/tools/environments.py clean-cache
	@python3 tests/testbed clean-cache
