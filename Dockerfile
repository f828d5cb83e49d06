# One image for a laptop, a GPU node and every node of a Ray or KubeRay cluster: the packages of constraints.txt.
#
#     docker build -t pythia-emergence .
#     docker build -t pythia-emergence --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .    # smaller, no GPU
#     docker run --rm -v "$PWD:/work" pythia-emergence jobs.sweep PLAN.toml --out results --executor inline
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# KubeRay asks a node with wget whether it is alive. User 1000, as in Ray's own images.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 sweep

# PyPI's wheel of torch runs on CPUs and on CUDA GPUs; one of another index, of the same version, takes its place.
ARG TORCH_INDEX=https://pypi.org/simple
WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple \
    -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY dynamics dynamics
COPY jobs jobs
COPY analysis analysis
COPY figures figures
RUN pip install --no-cache-dir -c constraints.txt '.[gguf]'

USER 1000
ENV PYTHONUNBUFFERED=1
WORKDIR /work
ENTRYPOINT ["python", "-m"]
CMD ["jobs.sweep", "--help"]
