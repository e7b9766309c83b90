# tasker-server with the migrations of its schema, for compose.yaml. Compiling
# takes some minutes.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev && rm -rf /var/lib/apt/lists/*
ENV SQLX_OFFLINE=true
RUN cargo install --locked --root /out --version 0.1.8 tasker-orchestration \
	&& mkdir -p /out/share/tasker \
	&& cp -r "$CARGO_HOME"/registry/src/*/tasker-shared-0.1.8/migrations /out/share/tasker/
RUN cargo install --locked --root /out --version 0.8.6 sqlx-cli --no-default-features --features rustls,postgres

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 && rm -rf /var/lib/apt/lists/* \
	&& useradd --uid 10001 tasker
COPY --from=build /out/bin/tasker-server /out/bin/sqlx /usr/local/bin/
COPY --from=build /out/share/tasker /usr/local/share/tasker
USER tasker
EXPOSE 8080
CMD ["tasker-server"]
