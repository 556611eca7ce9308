# The server: receives and stores scenes. Build from the repository's root.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/upcycle
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared_models shared_models
COPY protos protos
COPY vehicle_client vehicle_client
COPY server server
COPY upcycle upcycle
# Where packages come from, if not from pip's default; known to the build only, not to what runs later.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN PIP_CONSTRAINT=constraints.txt pip install '.[server,scale]' \
    && useradd --system --uid 10001 --create-home upcycle \
    && install -d -o upcycle -g upcycle /var/lib/upcycle

USER upcycle
WORKDIR /home/upcycle
VOLUME /var/lib/upcycle
EXPOSE 50051
ENTRYPOINT ["upcycle"]
CMD ["server", "serve", "--data", "/var/lib/upcycle", "--port", "50051"]
