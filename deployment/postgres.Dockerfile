# PostgreSQL with PGMQ, for compose.yaml. PGMQ is SQL only; its files are in the
# Rust package of the same name.
FROM rust:1-bookworm AS pgmq
RUN cargo new --lib /fetch && cd /fetch && cargo add pgmq@=0.33.2 --no-default-features && cargo fetch \
	&& mkdir /extension && cd "$CARGO_HOME"/registry/src/*/pgmq-0.33.2/src/install/embedded \
	&& cp pgmq.control /extension \
	&& cp sql/pgmq.sql "/extension/pgmq--$(sed -n "s/^default_version = '\(.*\)'/\1/p" pgmq.control).sql"

FROM postgres:17-bookworm
COPY --from=pgmq /extension/ /usr/share/postgresql/17/extension/
# PostgreSQL has a uuidv7() of its own from 18 on.
COPY deployment/schema.sql deployment/uuidv7.sql /docker-entrypoint-initdb.d/
