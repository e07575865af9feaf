# Built by debian.sh, which makes rootfs.tar.
FROM scratch
ARG USER
ADD rootfs.tar /
ENV PATH=/bin
USER $USER
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
