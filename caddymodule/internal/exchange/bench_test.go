package exchange

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

type benchOwner struct{}

func (benchOwner) Begin(*Exchange) error                { return nil }
func (benchOwner) Send(req *http.Request) *http.Request { return req }
func (benchOwner) Resends() int                         { return 1 }
func (benchOwner) Noticed()                             {}
func (benchOwner) Suspects() bool                       { return false }
func (benchOwner) Endless(http.Header) bool             { return false }
func (benchOwner) Outlasts() bool                       { return true }
func (benchOwner) End(*Exchange, bool)                  {}

type answering struct{ body string }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ContentLength: int64(len(a.body)),
		Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

// A round trip through a transport that answers at once, alone and as an exchange:
// the difference is what an exchange costs. Repeat with
//
//	go test -run '^$' -bench . -cpu 1 ./caddymodule/internal/exchange
func BenchmarkRoundTrip(b *testing.B) {
	for name, size := range map[string]int{"128": 128, "65536": 65536} {
		transport := answering{strings.Repeat("x", size)}
		req, _ := http.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		buf := make([]byte, ringSize)
		read := func(b *testing.B, res *http.Response, err error) {
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = res.Body.Read(buf)
			}
			_ = res.Body.Close()
		}
		b.Run(name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res, err := transport.RoundTrip(req)
				read(b, res, err)
			}
		})
		b.Run(name+"/exchange", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res, err := RoundTrip(transport, req, benchOwner{})
				read(b, res, err)
			}
		})
	}
}
