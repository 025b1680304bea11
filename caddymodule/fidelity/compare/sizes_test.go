package compare

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// sizes of bodies: none, one byte, those around each buffer on the way, and more
// than any buffer.
func sizes() []int {
	list := []int{0, 1}
	for _, n := range []int{2 * kib, 4 * kib, 32 * kib, 64 * kib, 128 * kib, 256 * kib} {
		list = append(list, n-1, n, n+1)
	}
	return append(list, 3*mib)
}

func TestCompareSizesOfAnswers(t *testing.T) {
	var trials []trial
	for _, n := range sizes() {
		trials = append(trials,
			trial{name: fmt.Sprintf("%d bytes with a length", n), answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(n))
				inPieces(w, n, 10000)
			}},
			trial{name: fmt.Sprintf("%d bytes in chunks", n), answer: func(w http.ResponseWriter, _ *http.Request) {
				typed(w)
				inPieces(w, n, 10000)
			}},
			trial{name: fmt.Sprintf("%d bytes until the end of the connection", n), answer: func(w http.ResponseWriter, r *http.Request) {
				raw("HTTP/1.1 200 OK\nContent-Type: a/b\n\n"+string(pattern(n)))(w, r)
			}},
		)
	}
	for i := range trials {
		if strings.HasPrefix(trials[i].name, "0 bytes") {
			trials[i].normal = (*exchange).forgetNoLength
		}
	}
	compare(t, proxied, trials...)
}

func TestCompareSizesOfRequests(t *testing.T) {
	var trials []trial
	for _, n := range sizes() {
		trials = append(trials,
			trial{name: fmt.Sprintf("%d bytes with a length", n), request: request{method: "POST", body: sized(n)}},
			trial{name: fmt.Sprintf("%d bytes of unknown length", n), request: request{method: "POST", body: unsized(n)}},
		)
	}
	compare(t, proxied, trials...)
}

// Both at once, and a body that goes back while it comes.
func TestCompareEchoes(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
	compare(t, proxied,
		trial{name: "small", request: request{method: "POST", body: sized(10)}, unread: true, answer: echo},
		trial{name: "100 KiB", request: request{method: "POST", body: sized(100 * kib)}, answer: func(w http.ResponseWriter, r *http.Request) {
			inPieces(w, 100*kib, 3000)
		}},
		trial{name: "1 MiB of unknown length", request: request{method: "POST", body: unsized(mib)}, answer: func(w http.ResponseWriter, r *http.Request) {
			typed(w)
			inPieces(w, mib, 70000)
		}},
	)
}
