# The gateway in an image of its own. The database is another container, see compose.yaml.

FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
# The caches outlive the layer: after a change of the sources only the program itself is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin ragboard \
    && install -D --strip target/release/ragboard /out/ragboard

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ragboard \
    && install --directory --owner=ragboard --group=ragboard /var/lib/ragboard /var/cache/ragboard
COPY --from=build /out/ragboard /usr/local/bin/ragboard
ENV RAGBOARD_LISTEN=0.0.0.0:8080 \
    RAGBOARD_DATA_DIR=/var/lib/ragboard \
    RAGBOARD_CACHE_DIR=/var/cache/ragboard
# A number, so that an orchestrator can see that it is not root.
USER 10001
WORKDIR /var/lib/ragboard
EXPOSE 8080
# It migrates before it is ready.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["ragboard", "healthcheck"]
ENTRYPOINT ["ragboard"]
