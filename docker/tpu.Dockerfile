# Training on TPUs, slices of several hosts included. From the root of the project: docker build --file docker/tpu.Dockerfile --tag podtune:tpu .
# The base image starts the hosts of a slice, and runs what it is given on the right one; it has Python 3.10 and no other tag.
ARG BASE=us-docker.pkg.dev/vertex-ai/training/tf-tpu-pod-base-cp310:latest
# hadolint ignore=DL3006
FROM ${BASE}

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KERAS_BACKEND=tensorflow
WORKDIR /app

COPY docker/requirements-tpu.txt requirements.txt
# tensorflow-text and this package ask for tensorflow by name, which would come beside tensorflow-tpu: without dependencies they do not.
RUN python3 -m pip install pip==25.3 && python3 -m pip install --requirement requirements.txt && python3 -m pip install --no-deps tensorflow-text==2.20.1
# Where v5e's runtime looks for it; the job sets the variables that v5e needs, as v2 and v3 run without them.
RUN ln -s "$(python3 -c 'import importlib.util; print(importlib.util.find_spec("libtpu").submodule_search_locations[0])')/libtpu.so" /lib/libtpu.so

COPY pyproject.toml setup.py README.md ./
COPY podtune podtune
COPY trainer trainer
COPY configs configs
RUN python3 -m pip install --no-deps --no-build-isolation .

# A command, no entry point: the base image's own is needed. It is also why the user is the base image's.
CMD ["python3", "-m", "trainer.task", "--help"]
