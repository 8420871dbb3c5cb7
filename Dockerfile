# Build: the locked dependencies and the wheel, into an environment of their own.
FROM python:3.11-slim@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff AS build
WORKDIR /src
RUN python -m venv /opt/vyry
COPY requirements.lock ./
RUN /opt/vyry/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY vyry vyry
COPY web web
COPY agents agents
COPY migrations migrations
RUN /opt/vyry/bin/pip install --no-cache-dir --no-deps --no-build-isolation ".[node]"

# Run: nothing but the environment, and nobody but vyry.
FROM python:3.11-slim@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/vyry vyry
COPY --from=build /opt/vyry /opt/vyry
ENV PATH=/opt/vyry/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VYRY_DATA_DIR=/var/lib/vyry
USER vyry
WORKDIR /var/lib/vyry
VOLUME /var/lib/vyry
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('SERVER_PORT', '8000')}/health\", timeout=2)"]
CMD ["vyry", "web"]
