FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o /out/thunderdb ./cmd/thunderdb \
 && mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/thunderdb /thunderdb
# A named volume that is mounted here takes over this owner.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
EXPOSE 8080 7946 7946/udp 7947
ENTRYPOINT ["/thunderdb"]
CMD ["serve", "--http", "0.0.0.0:8080", "--gossip", "0.0.0.0:7946", "--peer", "0.0.0.0:7947"]
