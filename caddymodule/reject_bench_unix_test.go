//go:build unix

package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Benchmarks the rejection of an upload of 1 MB, with the processor time of both sides.
//
//	go test -run '^$' -bench RefusedUpload -count 5 ./caddymodule
func BenchmarkRefusedUpload(b *testing.B) {
	s := site.Serve(b, nil, "offload {\nname refuses\nrequest_spool 64KiB\n}\nrespond ok")
	for name, fields := range map[string]string{"whole": "", "asked": "Expect: 100-continue\r\n"} {
		b.Run(name, func(b *testing.B) {
			body := make([]byte, 1<<20)
			before := processorTime(b)
			for b.Loop() {
				refuse(b, s.Clear, fields, body)
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// refuse sends a body, unless its client waits to be asked for it, and reads the answer.
func refuse(b *testing.B, addr, fields string, body []byte) {
	conn := dialTCP(b, addr)
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n", fields, len(body))
	if fields == "" {
		_, _ = conn.Write(body) // a server that does not read may reset the connection
	}
	if status, _, err := readHTTP1(conn); status != http.StatusRequestEntityTooLarge || err != nil && err != io.EOF {
		b.Fatalf("got %d, %v", status, err)
	}
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
