# Built by build.sh, which makes root.tar: the binary, CA certificates and folders for volumes.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ackwire tracker" \
      org.opencontainers.image.description="Folds the log of every job and answers gateways" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ADD root.tar /
ENV ACKWIRE_TRACKER_LISTEN=0.0.0.0:8090 \
    ACKWIRE_OPS_LISTEN=0.0.0.0:8091 \
    ACKWIRE_DATA=/data
USER 65532:65532
EXPOSE 8090 8091
# Asks /readyz of the process itself, by its own operations listener.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["/tracker", "--health"]
ENTRYPOINT ["/tracker"]
