# Built by build.sh, which makes root.tar: the binary, CA certificates and folders for volumes.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ackwire loadtest" \
      org.opencontainers.image.description="Load, faults and reports" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ADD root.tar /
USER 65532:65532
ENTRYPOINT ["/loadtest"]
