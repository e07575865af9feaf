# Built by build.sh, which makes root.tar: the binary, CA certificates and folders for volumes.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ackwire gateway" \
      org.opencontainers.image.description="Sockets and HTTP for clients" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ADD root.tar /
ENV ACKWIRE_LISTEN=0.0.0.0:8080 \
    ACKWIRE_OPS_LISTEN=0.0.0.0:8081
USER 65532:65532
EXPOSE 8080 8081
# Asks /readyz of the process itself, by its own operations listener.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["/gateway", "--health"]
ENTRYPOINT ["/gateway"]
