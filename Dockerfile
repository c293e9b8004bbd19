# Two images from one recipe: `service` (no torch) and `trainer`. docs/container-images.md says how to build them.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# The interpreter and how it runs: any user, nothing written but in /tmp, the standard library compiled once for all.
FROM ${BASE_IMAGE} AS runtime
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
WORKDIR /app

# uv, and the exact packages of each image. While its list stays the same, an image keeps its large layer.
FROM ${BASE_IMAGE} AS packages
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN command -v pip || { apt-get update && apt-get install --yes --no-install-recommends python3-pip; }
WORKDIR /packages
COPY constraints.txt .
RUN pip install --no-cache-dir --constraint constraints.txt --target uv uv
COPY pyproject.toml .
RUN uv/bin/uv pip compile --no-header --no-annotate --constraint constraints.txt \
        pyproject.toml --group service --group traces --output-file service.txt \
    && uv/bin/uv pip compile --no-header --no-annotate --constraint constraints.txt \
        --group trainer --group traces --output-file trainer.txt

# The code, compiled. The built-in base model is large and seldom changes: it becomes a layer of its own.
FROM runtime AS code
COPY client/loramill loramill
COPY store store
COPY service service
COPY trainer trainer
RUN rm -r trainer/builtin/shapes/base && python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM runtime AS service
ARG UV_CACHE_DIR=/var/cache/uv
COPY --from=packages /packages/service.txt /opt/packages.txt
RUN --mount=type=bind,from=packages,source=/packages,target=/packages \
    --mount=type=cache,target=/var/cache/uv \
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    && /packages/uv/bin/uv venv --python python3 /opt/venv \
    && /packages/uv/bin/uv pip install --link-mode copy --compile-bytecode --no-deps --python /opt/venv \
        --requirements /opt/packages.txt
COPY LICENSE .
COPY trainer/builtin/shapes/base trainer/builtin/shapes/base
COPY --from=code /app/loramill loramill
COPY --from=code /app/store store
COPY --from=code /app/service service
LABEL org.opencontainers.image.title="Loramill service" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
ENTRYPOINT ["python", "-m", "service"]

FROM runtime AS trainer
ARG UV_CACHE_DIR=/var/cache/uv
COPY --from=packages /packages/trainer.txt /opt/packages.txt
RUN --mount=type=bind,from=packages,source=/packages,target=/packages \
    --mount=type=cache,target=/var/cache/uv \
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    && /packages/uv/bin/uv venv --python python3 /opt/venv \
    && /packages/uv/bin/uv pip install --link-mode copy --compile-bytecode --no-deps --python /opt/venv \
        --requirements /opt/packages.txt
COPY LICENSE .
COPY trainer/builtin/shapes/base trainer/builtin/shapes/base
COPY --from=code /app/loramill loramill
COPY --from=code /app/store store
COPY --from=code /app/trainer trainer
LABEL org.opencontainers.image.title="Loramill trainer" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
ENTRYPOINT ["python", "-m", "trainer"]
