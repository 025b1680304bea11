#!/usr/bin/env bash
# After an explicit WriteHeader, quic-go's HTTP/3 server guesses a missing Content-Type only
# if the first write of the handler is below 4096 bytes. net/http guesses it from the first
# write of any size, on HTTP/1 and HTTP/2, so the same handler answers with the field there
# and without it here. A proxy that passes its upstream's body on in larger pieces loses the
# field for its HTTP/3 clients.
#
# Seen with quic-go v0.63.0 (http3.Server and http3.Transport on loopback):
#
#   first write of  100 bytes: "text/plain; charset=utf-8"
#   first write of 4096 bytes: ""
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

version=v0.63.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >main.go <<'GO'
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/quic-go/http3"
)

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func main() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate()}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first, _ := strconv.Atoi(r.URL.Query().Get("first"))
			w.WriteHeader(http.StatusOK)
			w.Write([]byte(strings.Repeat("a", first)))
			w.Write([]byte(strings.Repeat("b", 10_000-first)))
		}),
	}
	go server.Serve(conn)
	client := &http.Client{Transport: &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, first := range []int{100, 4096} {
		res, err := client.Get(fmt.Sprintf("https://%s/?first=%d", conn.LocalAddr(), first))
		if err != nil {
			panic(err)
		}
		res.Body.Close()
		fmt.Printf("first write of %4d bytes: %q\n", first, res.Header.Get("Content-Type"))
	}
}
GO
go mod init finding >/dev/null 2>&1
go get "github.com/quic-go/quic-go@$version" >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
output=$(go run .)
printf '%s\n' "$output"
diff <(printf '%s\n' "$output") - <<'EXPECTED'
first write of  100 bytes: "text/plain; charset=utf-8"
first write of 4096 bytes: ""
EXPECTED
