# Training on NVIDIA GPUs; CUDA comes with the Python packages, the driver from the machine. From the root of the project: docker build --file docker/gpu.Dockerfile --tag podtune:gpu .
FROM python:3.11-slim-bookworm

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KERAS_BACKEND=tensorflow
RUN useradd --create-home --uid 1000 podtune
WORKDIR /app

# What changes seldom comes first: a change of the code builds only the last layers anew.
COPY docker/requirements-gpu.txt requirements.txt
RUN pip install --requirement requirements.txt

COPY pyproject.toml setup.py README.md ./
COPY podtune podtune
COPY trainer trainer
COPY configs configs
RUN pip install --no-deps --no-build-isolation .

USER 1000
ENTRYPOINT ["python", "-m", "trainer.task"]
