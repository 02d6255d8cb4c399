# The gateway without torch: `serve`, `worker`, `migrate` and every other command.
#   docker build -f deploy/gateway.Dockerfile -t image-gateway:0.1.0 .
# The stages `base`, `dependencies` and `ours` are the same in engine.Dockerfile, and so built once.

# Name a digest here (debian@sha256:...) to build the same again next year.
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log

FROM base AS dependencies
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
# pip stays here: what goes into the image has none.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/gateway
WORKDIR /src
COPY pyproject.toml constraints.txt deploy/requirements.py ./
RUN python3 requirements.py > wanted.txt \
 && python3 requirements.py fal modal postgresql otel >> wanted.txt \
 && /opt/pip/bin/pip --python /opt/gateway/bin/python install --no-cache-dir -c constraints.txt -r wanted.txt

FROM dependencies AS ours
COPY README.md LICENSE ./
COPY billing billing
COPY gateway gateway
COPY providers providers
COPY registry registry
COPY templates templates
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/pip/bin/pip --python /opt/gateway/bin/python install --no-deps --no-index --prefix /opt/ours /wheels/*.whl

FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="image-gateway" \
      org.opencontainers.image.description="One gateway in front of every image model" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin gateway \
 && install -d -o gateway -g gateway -m 0700 /data
# Two layers: the packages, which change seldom, and ours.
COPY --from=dependencies /opt/gateway /opt/gateway
COPY --from=ours /opt/ours /opt/gateway
# All modules are compiled already, and nothing may be written beside them.
ENV PATH="/opt/gateway/bin:/usr/local/bin:/usr/bin:/bin" \
    HOME="/data" \
    PYTHONDONTWRITEBYTECODE="1" \
    PYTHONUNBUFFERED="1" \
    GATEWAY_HOST="0.0.0.0" \
    GATEWAY_PORT="8000" \
    GATEWAY_DATA_DIR="/data"
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["gateway", "health"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
