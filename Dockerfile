# One image for every process of Pointsman: worker, trainer, beat, Flower and the command line.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/pointsman
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY producer producer
COPY shared shared
COPY workers workers
RUN /opt/pointsman/bin/pip install --no-cache-dir -c constraints.txt '.[cli,flower,workers]'

FROM python:3.12-slim
LABEL org.opencontainers.image.title="Pointsman" \
      org.opencontainers.image.description="Queue-based text classification whose model tier is chosen by a feature flag at dequeue." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"

# SIGTERM then ends a worker the way that loses no message: what it does is finished or given back.
ENV PATH="/opt/pointsman/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    REMAP_SIGTERM=SIGQUIT

WORKDIR /app
# A new volume takes over the owner of the folder it is mounted on.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin pointsman \
 && mkdir -p models/registry state \
 && chown -R pointsman:pointsman models state
COPY --from=build /opt/pointsman /opt/pointsman
COPY data data

USER pointsman
VOLUME ["/app/models/registry"]
CMD ["celery", "-A", "pointsman_workers.app", "worker", "--loglevel", "INFO"]
