# A vehicle: scans in, features out; without the server's code and libraries. Build from the repository's root.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/upcycle
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared_models shared_models
COPY protos protos
COPY vehicle_client vehicle_client
COPY upcycle upcycle
# Where packages come from, if not from pip's default; known to the build only, not to what runs later.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN PIP_CONSTRAINT=constraints.txt pip install '.[vehicle,sim]' \
    && useradd --system --uid 10001 --create-home upcycle \
    && install -d -o upcycle -g upcycle /var/lib/upcycle

USER upcycle
WORKDIR /home/upcycle
VOLUME /var/lib/upcycle
ENTRYPOINT ["upcycle"]
CMD ["vehicle", "--help"]
