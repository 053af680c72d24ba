# Copyright: meshops.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The verbs; the work is in tests/tools. Only python3 (3.11 or newer, with venv) and git are needed to begin.

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint sanity unit packaging browser apiserver molecule matrix upstream down clean clean-cache

RUN_TESTS := python3 tests/tools/run_tests.py

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## build .venv with locked tools (10 s; 1-2 min the first time; nothing when up to date)
	@python3 tests/tools/environments.py ensure dev

# KUBECONFIG counts only when typed on make's own command line: the one of the shell may be anybody's cluster.
demo: ## a kind cluster with Istio, and an answer through it (1 min; the first time builds for 30 min); KUBECONFIG=FILE [VARS=FILE]: on your cluster
	@python3 tests/tools/demo.py $(if $(filter command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)') $(if $(VARS),--vars '$(VARS)')

test: ## lint, sanity, unit, packaging, browser, apiserver and molecule (22 min; the first time builds for 37 min)
	@$(RUN_TESTS)

bench: setup ## preflight on a large cluster, then our playbook against istioctl, in turns on one kind cluster (9 min); writes build/bench*.json
	@.venv/bin/python tests/bench/preflight.py
	@.venv/bin/python tests/bench

lint: ## ansible-lint, yamllint, ruff, shellcheck, changelog, documentation (20 s)
	@$(RUN_TESTS) lint

sanity: ## ansible-test sanity, on a copy (15 s; 1 min the first time)
	@$(RUN_TESTS) sanity

unit: ## the unit tests on ansible-core 2.16, 2.19 and the newest, and what a run leaves behind (4 min)
	@$(RUN_TESTS) unit

packaging: ## the archive, galaxy-importer, a clone run as AWX does (3 min)
	@$(RUN_TESTS) packaging

browser: ## the report in headless chromium: errors, requests, accessibility, print (1 min; installs chromium the first time)
	@$(RUN_TESTS) browser

apiserver: ## the tests that need API servers alone: today's, hardened, OpenShift's kinds, PodSecurityPolicy (7 min; the first time builds for 12 min)
	@$(RUN_TESTS) apiserver

molecule: ## kvm on a kind cluster, then the tests that need one; cloud and airgap on clusters of their own; psp, psa and scc on API servers alone (18 min; the first time builds for 37 min)
	@$(RUN_TESTS) molecule pod-security

matrix: ## apiserver's long tests, and its others on Kubernetes 1.32, 1.34 and 1.36 too, faults that a diagnosis must name, every scenario of molecule, and the unit tests on every ansible-core, the next one's release candidate too (2 hours; the first time builds for 65 min)
	@$(RUN_TESTS) unit cores apiserver apiserver-long apiserver-matrix faults molecule pod-security molecule-matrix

# Not a part of `make test`: what a test starts never leaves the machine.
upstream: ## ask each place on the internet that a run fetches from whether it is still there (1 min); error 3: not reachable from here
	@python3 tests/tools/upstream.py

down: ## delete the demo's cluster (5 s)
	@python3 tests/tools/demo.py --down

clean: ## delete every cluster of the test bed, .venv and all build output; the caches stay
	@python3 tests/testbed down --all
	rm -rf .venv build istio-report .ansible .pytest_cache .ruff_cache tests/output inventories/kind/group_vars/all/testbed.yml molecule/*/group_vars
	find . -name __pycache__ -prune -exec rm -rf {} +

clean-cache: ## delete the caches too: the next setup and the next cluster start from nothing
	@python3 tests/tools/environments.py clean-cache
	@python3 tests/testbed clean-cache
