# Nothing but the binary and the CA bundle: `make image` puts both into dist/. No
# shell, no package manager, no user database; the user is a number, so that
# Kubernetes can see that it is not root.
FROM scratch
COPY dist/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY dist/claimgate /claimgate
USER 65532:65532
EXPOSE 9191 9190
ENTRYPOINT ["/claimgate"]
CMD ["serve", "--config", "/etc/claimgate/claimgate.yaml"]
