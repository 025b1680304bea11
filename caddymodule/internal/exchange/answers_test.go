package exchange_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
)

// answers are those of a backend by path.
var answers = map[string]http.HandlerFunc{
	"/small": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "small") },
	"/empty": func(w http.ResponseWriter, _ *http.Request) {},
	"/large": func(w http.ResponseWriter, _ *http.Request) { w.Write(pattern(3 << 20)) },
	"/sized": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(pattern(100_000))
	},
	"/pieces": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 200 {
			w.Write(pattern(i * 7))
			http.NewResponseController(w).Flush()
		}
	},
	"/announced": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Write(pattern(50_000))
		w.Header().Set("X-Sum", "42")
	},
	"/unannounced": func(w http.ResponseWriter, _ *http.Request) {
		w.Write(pattern(50_000))
		w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
	},
	"/bodyless": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		http.NewResponseController(w).Flush()
		w.Header().Set("X-Sum", "42")
	},
	"/204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	"/304": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(304)
	},
	"/hint": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(103)
		io.WriteString(w, "hinted")
	},
	"/echo": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	},
	"/cut": func(w http.ResponseWriter, _ *http.Request) {
		w.Write(pattern(40_000))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"/none": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/echo" { // which reads all of it too: else the connection may be reset
		io.Copy(io.Discard, r.Body)
	}
	answers[r.URL.Path](w, r)
}

// pattern is a body in which a shifted byte shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)
	}
	return b
}

// seen is all that a caller sees of an answer.
type seen struct {
	Err                string
	Status             string
	Header, Trailer    http.Header
	Announced          http.Header // trailers, before the body
	Length             int64
	Chunked            []string
	Body, BodyErr, End string
}

func look(res *http.Response, err error) (s seen) {
	if err != nil {
		return seen{Err: text(err)}
	}
	defer res.Body.Close()
	res.Header.Del("Date")
	s = seen{Status: res.Proto + res.Status, Header: res.Header, Announced: res.Trailer.Clone(), Length: res.ContentLength, Chunked: res.TransferEncoding}
	body, err := io.ReadAll(res.Body)
	s.Body, s.BodyErr, s.Trailer = string(body), text(err), res.Trailer
	_, err = res.Body.Read(make([]byte, 1))
	s.End = text(err)
	return s
}

// text is an error without what differs from connection to connection.
func text(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err.Error()
	}
	before, _, _ := strings.Cut(err.Error(), "; ")
	return strings.Split(before, "stream ID")[0]
}

// What the backend answers arrives as without the exchange: heads, bodies, trailers and
// faults.
func TestAnswersPassUnchanged(t *testing.T) {
	eachVersion(t, answer, func(t *testing.T, b backend) {
		for path := range answers {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				t.Run(method+path, func(t *testing.T) {
					ask := func() *http.Request {
						b.CloseIdleConnections() // after HEAD /cut the backend closes one that looks well
						req := request(t, method, b.url+path)
						if method == "POST" {
							req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(pattern(70_000))), 70_000
						}
						return req
					}
					want := look(b.RoundTrip(ask()))
					o := newOwner()
					got := look(exchange.RoundTrip(b, o.of(ask()), o))
					if !reflect.DeepEqual(got, want) {
						t.Errorf("got  %.300q\nwant %.300q", fmt.Sprint(got), fmt.Sprint(want))
					}
					o.wantEnd(t, false)
				})
			}
		}
	})
}

// The first bytes come in the sizes in which the backend has sent them: writers guess
// the type of a body from its first write.
func TestFirstBytesComeAsSent(t *testing.T) {
	next := make(chan struct{})
	b := serve(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		for range 2 {
			io.WriteString(w, "<html>")
			http.NewResponseController(w).Flush()
			<-next
		}
	})
	o := newOwner()
	res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 100)
	for range 2 {
		if n, err := res.Body.Read(buf); err != nil || string(buf[:n]) != "<html>" {
			t.Errorf("got %q, %v", buf[:n], err)
		}
		next <- struct{}{}
	}
	if n, err := res.Body.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	o.wantEnd(t, false)
}

// The connection of an answer that was read to its end is used again.
func TestConnectionsAreKept(t *testing.T) {
	remotes := map[string]bool{}
	b := serve(t, "h1", func(w http.ResponseWriter, r *http.Request) {
		remotes[r.RemoteAddr] = true
		w.Write(pattern(100_000))
	})
	for range 20 {
		o := newOwner()
		look(exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o))
		o.wantEnd(t, false)
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections", len(remotes))
	}
}

// An upgraded connection belongs to the run: it can write to it, and the exchange is
// over.
func TestUpgradesAreLeftAlone(t *testing.T) {
	b := serve(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.Copy(conn, rw)
	})
	o := newOwner()
	req := request(t, "GET", b.url)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	res, err := exchange.RoundTrip(b, o.of(req), o)
	if err != nil {
		t.Fatal(err)
	}
	o.wantEnd(t, false)
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body is a %T", res.Body)
	}
	defer conn.Close()
	io.WriteString(conn, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("got %q, %v", buf, err)
	}
}

// A run that has no use for the rest of an answer closes it. The backend of one that is
// presumed to work on ends when it has answered; else its connection is closed.
func TestEarlyClose(t *testing.T) {
	for _, outlasts := range []bool{true, false} {
		t.Run(fmt.Sprint("outlasts ", outlasts), func(t *testing.T) {
			work, gone := make(chan struct{}), make(chan struct{}, 10)
			eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begin")
				http.NewResponseController(w).Flush()
				select {
				case <-work:
				case <-r.Context().Done():
					gone <- struct{}{}
				}
			}, func(t *testing.T, b backend) {
				o := newOwner()
				o.outlasts = outlasts
				res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
				if err != nil {
					t.Fatal(err)
				}
				x := <-o.began
				res.Body.Close()
				res.Body.Close()
				if n, err := res.Body.Read(make([]byte, 10)); n != 0 || err == nil {
					t.Errorf("read %d, %v of a closed body", n, err)
				}
				if outlasts {
					if o.wantGoingOn(t); !x.Left() {
						t.Error("not left")
					}
					work <- struct{}{}
				} else {
					<-gone
				}
				o.wantEnd(t, false)
				if x.Left() || x.Leave(errLeft) {
					t.Error("it is over")
				}
			})
		})
	}
}
