# Built by debian.sh, which makes rootfs.tar.
FROM scratch
ARG USER
ADD rootfs.tar /
ENV PATH=/bin
USER $USER
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
