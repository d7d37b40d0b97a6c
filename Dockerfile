# docker build -t ich-predict .                   predicts on a CPU
# docker build -t ich-train --target train .      trains on an NVIDIA GPU
# docs/install.md shows how to run both.
FROM python:3.13-slim AS train
WORKDIR /project
COPY requirements*.txt constraints.txt /requirements/
RUN pip install --no-cache-dir -r /requirements/requirements-gpu.txt -r /requirements/requirements-predict.txt \
    -c /requirements/constraints.txt
ENTRYPOINT ["python"]

FROM python:3.13-slim
COPY . /source
RUN pip install --no-cache-dir /source -c /source/constraints.txt && rm -r /source
USER 65534
WORKDIR /scans
ENTRYPOINT ["ich-predict"]
