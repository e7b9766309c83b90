# The worker as an image: handlers are mounted at /app/handlers.
#
#	docker build -t taskerpy .
#	docker run -p 8083:8083 -v "$PWD/examples/linear:/app/handlers:ro" taskerpy

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY scripts/prerequisites scripts/
RUN scripts/prerequisites
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make install DESTDIR=/out PREFIX=/usr/local

# The same Debian, for the same Python.
FROM debian:bookworm-slim
RUN apt-get update \
	&& apt-get install -y --no-install-recommends ca-certificates python3 libpython3.11 \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --uid 10001 --create-home taskerpy \
	&& install -d /app/handlers && install -d -o taskerpy -g taskerpy /app/data
COPY --from=build /out/ /
USER taskerpy
WORKDIR /app
VOLUME /app/data
EXPOSE 8083
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
	CMD ["/usr/local/lib/taskerpy/venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8083/health/live', timeout=2)"]
ENTRYPOINT ["taskerpy"]
CMD ["run", "/app/handlers", "--listen", "0.0.0.0:8083", "--data", "/app/data/taskerpy.db"]
