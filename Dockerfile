# One file for every image of Pilotfish; what changes most often comes last in each.
#
#   operator         the operator and the gateway, in one image: `operator` and `gateway` are its commands
#   pool             Ray, vLLM for the CPU, and the `pilotfish` command that runs a pool's pods
#   pool-quickstart  the same with the weights of examples/quickstart, for clusters that reach no model hub

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/pilotfish/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 1000 pilotfish \
    && useradd --uid 1000 --gid 1000 --create-home pilotfish \
    && python3 -m venv /opt/pilotfish
WORKDIR /home/pilotfish

FROM base AS operator-dependencies
COPY requirements/core.txt /tmp/core.txt
RUN pip install --require-hashes --no-deps -r /tmp/core.txt

FROM base AS pool-dependencies
# vLLM's kernels for the CPU are linked against libnuma; KubeRay's probes call wget
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 wget \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/cpu.txt /tmp/cpu.txt
RUN pip install --require-hashes --no-deps -r /tmp/cpu.txt

FROM pool-dependencies AS quickstart-dependencies
COPY requirements/quickstart.txt /tmp/quickstart.txt
RUN pip install --require-hashes --no-deps -r /tmp/quickstart.txt

FROM operator-dependencies AS wheel
WORKDIR /source
COPY pyproject.toml README.md ./
COPY operator operator
COPY plugins plugins
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . ./plugins/*/

FROM operator-dependencies AS operator
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-deps --no-index /tmp/wheels/*.whl
USER 1000:1000
ENTRYPOINT ["pilotfish"]

FROM quickstart-dependencies AS pool-quickstart
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-deps --no-index /tmp/wheels/*.whl
USER 1000:1000
ENTRYPOINT ["pilotfish"]

FROM pool-dependencies AS pool
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-deps --no-index /tmp/wheels/*.whl
USER 1000:1000
ENTRYPOINT ["pilotfish"]
