package raw

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// dialHTTP3 opens a connection with direct access to its streams.
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

// sendHTTP3 sends a request for a path that declares one length and has another.
func sendHTTP3(t *testing.T, s *site.Site, path string, declared int64, body string) string {
	t.Helper()
	stream, err := dialHTTP3(t, s).OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPost, "https://127.0.0.1"+path, http.NoBody)
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

// No lower layer checks that a body has its declared length: plain Caddy notices when it
// has sent half of the request, and responds with 502. A spool must not make a shorter
// request of it.
func TestRawHTTP3Lengths(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for declared, body := range map[int64]string{0: kit.Smuggled, 4: "body" + kit.Smuggled, 400: "body", 1: ""} {
		t.Run(fmt.Sprintf("%d of %d", len(body), declared), func(t *testing.T) {
			path := fmt.Sprintf("/offloaded/%d", declared)
			want := sendHTTP3(t, plain, "/plain", declared, body)
			answer := sendHTTP3(t, offloaded, path, declared, body)
			if int64(len(body)) >= declared { // then the declared part may be sent on before more arrives
				if answer != want {
					t.Errorf("the answer is %q, want %q", answer, want)
				}
				return
			}
			want = strings.Replace(want, "502", "400", 1)
			// Half a request of plain Caddy may reach the upstream, also after its answer.
			requests := slices.DeleteFunc(r.take(), func(request string) bool { return !strings.Contains(request, path+" ") })
			if answer != want || len(requests) > 0 {
				t.Errorf("the answer is %q, want %q; the upstream got %q", answer, want, requests)
			}
		})
	}
}
