package bridge_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
)

// flush flushes the response, as any handler can.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// set sets a field and its values.
func set(w http.ResponseWriter, name string, values ...string) { w.Header()[name] = values }

func asText(w http.ResponseWriter) { set(w, "Content-Type", "text/plain") }

// inPieces writes n bytes of the pattern, at most so many at once.
func inPieces(w io.Writer, n, most int) {
	var next inTurn
	for next.at < n {
		_, _ = w.Write(next.take(min(most, n-next.at)))
	}
}

// handlers whose clients must not notice the bridge. Those that flush before
// they end say what they write: if the rest overtakes the flush, it would be
// sniffed together with what came before.
var handlers = map[string]http.HandlerFunc{
	"nothing":          func(http.ResponseWriter, *http.Request) {},
	"a header only":    func(w http.ResponseWriter, _ *http.Request) { set(w, "X-Run", "1", "2") },
	"a head only":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
	"a flush only":     func(w http.ResponseWriter, _ *http.Request) { flush(w) },
	"an empty write":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
	"a small body":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
	"2048 bytes":       func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 2048, 100) },
	"2049 bytes":       func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 2049, 100) },
	"2049 at once":     func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 2049, 2049) },
	"4095 bytes":       func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 4095, 1000) },
	"4096 bytes":       func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 4096, 1000) },
	"10 KiB":           func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 10*kib, 10*kib) },
	"200 KiB":          func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 200*kib, 7*kib) },
	"600 KiB at once":  func(w http.ResponseWriter, _ *http.Request) { inPieces(w, 600*kib, 600*kib) },
	"a copied body":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(pattern(100*kib))) },
	"an error":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	"not found":        http.NotFound,
	"a redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusSeeOther) },
	"a strange status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799); _, _ = io.WriteString(w, "odd") },
	"a file": func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), bytes.NewReader(pattern(50*kib)))
	},
	"cookies": func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
		w.WriteHeader(http.StatusAccepted)
	},
	"fields with strange names": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "x-lower", "1")
		set(w, "X-Empty", "")
		set(w, "X-None")
		_, _ = io.WriteString(w, "hello")
	},
	"a connection to be closed": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Connection", "close")
		_, _ = io.WriteString(w, "hello")
	},
	"a date of its own": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Date", "Sun, 09 Sep 2001 01:46:40 GMT")
		_, _ = io.WriteString(w, "hello")
	},
	"no date": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, "hello")
	},

	// bodies that are not allowed
	"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"204 with a body": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		report(w, "hello")
	},
	"304 with a body": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
		report(w, "hello")
	},
	"205 with a body": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusResetContent)
		_, _ = io.WriteString(w, "hello")
	},

	// heads that come twice, or late
	"two heads": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "hello")
		w.WriteHeader(http.StatusTeapot)
	},
	"a header changed too late": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "X-Run", "early")
		w.WriteHeader(http.StatusOK)
		set(w, "X-Run", "late")
		set(w, "X-Late", "1")
		_, _ = io.WriteString(w, "hello")
	},
	"values changed in their place": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "X-Run", "early")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(pattern(5 * kib))
		w.Header()["X-Run"][0] = "late"
	},

	// 1xx
	"early hints": func(w http.ResponseWriter, _ *http.Request) {
		sent := make(chan struct{})
		go func() { // as a transport does
			defer close(sent)
			for _, link := range []string{"</a.css>", "</b.css>"} {
				set(w, "Link", link)
				w.WriteHeader(http.StatusEarlyHints)
				delete(w.Header(), "Link")
			}
		}()
		<-sent
		_, _ = io.WriteString(w, "hello")
	},
	"1xx that are too late": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hello")
	},

	// declared lengths
	"a length that is met": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	},
	"a large length that is met": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Length", fmt.Sprint(300*kib))
		inPieces(w, 300*kib, 30*kib)
	},
	"a length that is no number": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Length", "five")
		_, _ = io.WriteString(w, "hello")
	},
	"a length of nothing": func(w http.ResponseWriter, _ *http.Request) { set(w, "Content-Length", "0") },

	// sniffed types
	"HTML":                func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html><body>") },
	"HTML, a byte a time": func(w http.ResponseWriter, _ *http.Request) { byteByByte(w, "<!DOCTYPE html><html>") },
	"PNG":                 func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x89PNG\r\n\x1a\n") },
	"binary":              func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5*kib)) },
	"a type that is no type": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	},
	"a set type": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Type", "application/x-own")
		_, _ = io.WriteString(w, "<html>")
	},
	"encoded": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Encoding", "x-own")
		_, _ = io.WriteString(w, "<html>")
	},
	"type of what comes after a flush": func(w http.ResponseWriter, _ *http.Request) {
		flush(w)
		_, _ = io.WriteString(w, "<html>")
	},

	// trailers
	"announced trailers": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum, x-lower", "X-Missing")
		_, _ = io.WriteString(w, "hello")
		set(w, "X-Sum", "1", "2")
		set(w, "X-Lower", "3")
	},
	"announced trailers of a large body": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum")
		inPieces(w, 300*kib, 30*kib)
		set(w, "X-Sum", "1")
	},
	"announced trailers, set before the head": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum")
		set(w, "X-Sum", "early")
		_, _ = io.WriteString(w, "hello")
		set(w, "X-Sum", "late")
	},
	"trailers of nothing": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		set(w, "X-Sum", "1")
	},
	"a trailer that is forbidden": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "Content-Length, X-Sum")
		_, _ = io.WriteString(w, "hello")
		set(w, "Content-Length", "7")
		set(w, "X-Sum", "1")
	},
	"trailers that are not announced": func(w http.ResponseWriter, _ *http.Request) {
		asText(w)
		_, _ = io.WriteString(w, "hello")
		flush(w)
		set(w, http.TrailerPrefix+"X-Sum", "1")
	},
	"trailers of both kinds": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum")
		inPieces(w, 10*kib, kib)
		set(w, "X-Sum", "1")
		set(w, http.TrailerPrefix+"X-More", "2", "3")
	},
	"trailers announced too late": func(w http.ResponseWriter, _ *http.Request) {
		asText(w)
		_, _ = io.WriteString(w, "hello")
		flush(w)
		set(w, "Trailer", "X-Sum")
		set(w, "X-Sum", "1")
	},
	"trailers after an announcement was taken back": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Trailer", "X-Sum")
		inPieces(w, 10*kib, kib)
		delete(w.Header(), "Trailer")
		set(w, "X-Sum", "1")
	},

	// pieces
	"flushed pieces": func(w http.ResponseWriter, _ *http.Request) {
		asText(w)
		for _, piece := range []string{"one", "two", "three"} {
			_, _ = io.WriteString(w, piece)
			flush(w)
		}
	},
	"large flushed pieces": func(w http.ResponseWriter, _ *http.Request) {
		asText(w)
		for range 10 {
			inPieces(w, 50*kib, 20*kib)
			flush(w)
		}
	},
	"a flush at the end": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>")
		flush(w)
	},

	// bodies of requests
	"echo": func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", body, err)
	},
	"answer before the request is read": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "no need")
	},
	"full duplex": func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		asText(w)
		flush(w)
		_, _ = io.Copy(w, r.Body)
	},

	// not spooled
	"gRPC": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Type", "application/grpc")
		_, _ = w.Write(pattern(100))
		flush(w)
		set(w, http.TrailerPrefix+"Grpc-Status", "0")
	},
	"incremental": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Incremental", "?1")
		inPieces(w, 10*kib, kib)
	},

	// responses that fail
	"a length that is not met": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Length", "10")
		asText(w)
		_, _ = io.WriteString(w, "hello")
		flush(w)
	},
	"a length that is exceeded": func(w http.ResponseWriter, _ *http.Request) {
		set(w, "Content-Length", "5")
		asText(w)
		_, _ = io.WriteString(w, "hello")
		if _, err := io.WriteString(w, " world"); err == nil {
			panic("this write should fail")
		}
	},
	"abort before the head": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"abort after a flush": func(w http.ResponseWriter, _ *http.Request) {
		asText(w)
		flush(w)
		panic(http.ErrAbortHandler)
	},
	"abort after a large body": func(w http.ResponseWriter, _ *http.Request) {
		inPieces(w, 600*kib, kib)
		flush(w) // else net/http throws the last bytes away, and the bridge does not
		panic(http.ErrAbortHandler)
	},
}

// report puts the result of a write into the trailer of nothing: it must not
// panic, and must be the same error.
func report(w http.ResponseWriter, body string) {
	if _, err := io.WriteString(w, body); !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(fmt.Sprintf("write of a body that is not allowed: %v", err))
	}
}

func byteByByte(w io.Writer, s string) {
	for i := range len(s) {
		_, _ = io.WriteString(w, s[i:i+1])
	}
}

// betterOnHTTP3 are responses that quic-go does not keep as they were at their
// head, or does not cut. Behind a bridge they are as on the other versions.
var betterOnHTTP3 = map[string]bool{
	"a header changed too late":                     true,
	"values changed in their place":                 true,
	"trailers announced too late":                   true,
	"trailers after an announcement was taken back": true,
	"a length that is not met":                      true,
	"a length that is exceeded":                     true,
	"HTML, a byte a time":                           true, // it sniffs the first byte
}

// both serves the handlers plainly under /plain/ and behind a bridge under
// /bridge/, without a nudge: that may flush, as time would have it.
func both(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/plain/{name}", func(w http.ResponseWriter, r *http.Request) {
		handlers[r.PathValue("name")](w, r)
	})
	b := newBridged(t, nil)
	b.opts.Nudge = never
	mux.HandleFunc("/bridge/{name}", func(w http.ResponseWriter, r *http.Request) {
		serve(new(bridge.Writer), w, r, b.opts, handlers[r.PathValue("name")])
	})
	return mux
}

// seen is what a client sees of a response.
type seen struct {
	failed   bool // to send a head
	status   int
	header   http.Header
	trailer  http.Header
	infos    []string
	length   int64
	encoding []string
	close    bool
	body     string
	cut      bool
}

func (got seen) String() string {
	return fmt.Sprintf("failed %v, %d %v, trailer %v, 1xx %v, length %d %v, close %v, %d bytes from %.40q, cut %v",
		got.failed, got.status, got.header, got.trailer, got.infos, got.length, got.encoding, got.close, len(got.body), got.body, got.cut)
}

// The client of a run sees what it would see without the bridge.
func TestSameAsPlain(t *testing.T) {
	t.Parallel()
	eachVersion(t, both(t), func(t *testing.T, s *site) {
		for _, name := range slices.Sorted(maps.Keys(handlers)) {
			if s.version == "h3" && betterOnHTTP3[name] {
				continue
			}
			for _, method := range methodsFor(s.version, name) {
				plain, bridged := s.see(t, method, "plain", name), s.see(t, method, "bridge", name)
				if !reflect.DeepEqual(plain, bridged) {
					t.Errorf("%s %q differs\nplain   %v\nbridged %v", method, name, plain, bridged)
				}
			}
		}
	})
}

// methodsFor leaves out what takes long and shows little.
func methodsFor(version, name string) []string {
	methods := []string{http.MethodGet}
	if version != "h3" { // where quic-go sniffs for HEAD only without a call of WriteHeader
		methods = append(methods, http.MethodHead)
	}
	switch name {
	case "echo", "full duplex", "answer before the request is read", "200 KiB", "announced trailers":
		methods = append(methods, http.MethodPost)
	}
	return methods
}

func (s *site) see(t *testing.T, method, where, name string) (got seen) {
	t.Helper()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		got.infos = append(got.infos, fmt.Sprint(status, h))
		return nil
	}}
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("a body")
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, s.url+"/"+where+"/"+url.PathEscape(name), body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return seen{failed: true}
	}
	defer res.Body.Close()
	got.fill(res)
	if s.version != "h1" && got.cut { // a reset may overtake what came before it
		return seen{failed: true}
	}
	return got
}

func (got *seen) fill(res *http.Response) {
	body, err := io.ReadAll(res.Body)
	got.status, got.header, got.trailer = res.StatusCode, res.Header, res.Trailer
	got.length, got.encoding, got.close = res.ContentLength, res.TransferEncoding, res.Close
	got.body, got.cut = string(body), err != nil
	if date := got.header.Get("Date"); date != "" && !strings.Contains(date, "2001") {
		got.header.Set("Date", "now")
	}
	if location := got.header.Get("Location"); location != "" {
		got.header.Set("Location", strings.ReplaceAll(location, "bridge", "plain"))
	}
}

// Clients of HTTP/1.0 know neither chunks nor trailers nor 1xx.
func TestSameAsPlainForOldClients(t *testing.T) {
	t.Parallel()
	s := startHTTP1(t, both(t))
	addr := strings.TrimPrefix(s.url, "http://")
	for _, name := range slices.Sorted(maps.Keys(handlers)) {
		if name == "early hints" { // net/http sends them all the same, and its client stumbles
			continue
		}
		see := func(where string) (got seen) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /%s/%s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", where, url.PathEscape(name))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return seen{failed: true}
			}
			defer res.Body.Close()
			got.fill(res)
			return got
		}
		if plain, bridged := see("plain"), see("bridge"); !reflect.DeepEqual(plain, bridged) {
			t.Errorf("%q differs\nplain   %v\nbridged %v", name, plain, bridged)
		}
	}
}
