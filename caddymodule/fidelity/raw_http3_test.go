package fidelity_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// dialHTTP3 opens a connection whose streams can be used as no client would.
func dialHTTP3(t *testing.T, s *site.Site) *http3.ClientConn {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), s.Addr, &tls.Config{
		InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{http3.NextProtoH3},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return new(http3.Transport).NewClientConn(conn)
}

// sendHTTP3 sends a request that declares one length and has another.
func sendHTTP3(t *testing.T, s *site.Site, declared int64, body string) string {
	t.Helper()
	stream, err := dialHTTP3(t, s).OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPost, "https://127.0.0.1/first", http.NoBody)
	req.ContentLength = declared
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stream, body)
	stream.Close()
	res, err := stream.ReadResponse()
	if err != nil {
		return "reset"
	}
	text, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s cut=%v", res.StatusCode, text, err != nil)
}

// Nobody below checks that a body has the length that it declares: plain Caddy
// notices when it has sent half of the request, and says 502. A spool must not
// make a shorter request of it.
func TestRawHTTP3Lengths(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for declared, body := range map[int64]string{0: rawSmuggled, 4: "body" + rawSmuggled, 400: "body", 1: ""} {
		t.Run(fmt.Sprintf("%d of %d", len(body), declared), func(t *testing.T) {
			want := sendHTTP3(t, plain, declared, body)
			wantRequests := r.take()
			answer, requests := sendHTTP3(t, offloaded, declared, body), r.take()
			if int64(len(body)) < declared {
				want = strings.Replace(want, "502", "400", 1)
			}
			more := int64(len(body)) > declared // then what fits may be sent on before more is seen
			if answer != want || (!more && len(requests) != len(wantRequests)) {
				t.Errorf("the answer is %q, want %q; the upstream got %q, want %q", answer, want, requests, wantRequests)
			}
		})
	}
}
