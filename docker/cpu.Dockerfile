# Training on CPUs. From the root of the project: docker build --file docker/cpu.Dockerfile --tag podtune:cpu .
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KERAS_BACKEND=tensorflow
RUN useradd --create-home --uid 1000 podtune
WORKDIR /app

# What changes seldom comes first: a change of the code builds only the last layers anew.
COPY docker/requirements-cpu.txt requirements.txt
RUN pip install --requirement requirements.txt

COPY pyproject.toml setup.py README.md ./
COPY podtune podtune
COPY trainer trainer
COPY configs configs
RUN pip install --no-deps --no-build-isolation .

USER 1000
ENTRYPOINT ["python", "-m", "trainer.task"]
