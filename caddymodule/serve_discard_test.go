package caddymodule_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/discard"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// strictUpload is how many bytes a strict client sends before it reads its answer. They do
// not fit into the buffers of a connection.
const strictUpload = 8 << 20

// discardWithin replaces the times for uploads that are discarded during a test, which may be
// as slow as its machine. It comes before the test's site.
func discardWithin(t *testing.T, whole, first time.Duration) {
	usual := caddymodule.Discarder()
	t.Cleanup(func() { caddymodule.SetDiscarder(usual) })
	b := discard.DefaultBounds()
	b.Time, b.HTTP2, b.First, b.Idle = whole, whole, first, whole
	caddymodule.SetDiscarder(discard.New(b))
}

// aStrictClient sends all of a request before it reads anything, as Python's urllib does. An
// error to send is the end of it. It returns the status and the body of the answer.
type aStrictClient func(t *testing.T, s *site.Site, path string, size int64) (int, string, error)

func strictClients() map[string]aStrictClient {
	return map[string]aStrictClient{
		"h1": func(t *testing.T, s *site.Site, path string, size int64) (int, string, error) {
			return strictHTTP1(dialTCP(t, s.Clear), path, size)
		},
		"h1 with TLS": func(t *testing.T, s *site.Site, path string, size int64) (int, string, error) {
			return strictHTTP1(dialTLS(t, s, "http/1.1"), path, size)
		},
		"h1, chunked": func(t *testing.T, s *site.Site, path string, size int64) (int, string, error) {
			return strictChunks(dialTCP(t, s.Clear), path, size)
		},
		"h2": func(t *testing.T, s *site.Site, path string, size int64) (int, string, error) {
			c := dialFrames(t, dialTLS(t, s, "h2"))
			if err := c.upload(1, path, size); err != nil {
				return 0, "", err
			}
			return c.answer(t)
		},
		"h3": strictHTTP3,
	}
}

func dialTCP(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func dialTLS(t *testing.T, s *site.Site, protocol string) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{protocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// nulls are a body of that size.
func nulls(size int64) io.Reader { return io.LimitReader(nullReader{}, size) }

type nullReader struct{}

func (nullReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func strictHTTP1(conn net.Conn, path string, size int64) (int, string, error) {
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", path, size)
	if _, err := io.Copy(conn, nulls(size)); err != nil {
		return 0, "", err
	}
	return readHTTP1(conn)
}

func strictChunks(conn net.Conn, path string, size int64) (int, string, error) {
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", path)
	const chunk = 1 << 16
	for range size / chunk {
		if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", chunk, make([]byte, chunk)); err != nil {
			return 0, "", err
		}
	}
	if _, err := io.WriteString(conn, "0\r\n\r\n"); err != nil {
		return 0, "", err
	}
	return readHTTP1(conn)
}

func readHTTP1(conn net.Conn) (int, string, error) {
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	body, err := readAll(res.Body)
	if err == nil && !res.Close {
		err = errors.New("the connection is said to stay")
	}
	return res.StatusCode, body, err
}

func strictHTTP3(t *testing.T, s *site.Site, path string, size int64) (int, string, error) {
	stream := openHTTP3(t, s, path, size)
	if _, err := io.Copy(stream, nulls(size)); err != nil {
		return 0, "", err
	}
	if err := stream.Close(); err != nil {
		return 0, "", err
	}
	return readHTTP3(stream)
}

func openHTTP3(t *testing.T, s *site.Site, path string, size int64) *http3.RequestStream {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), s.Addr, &tls.Config{
		InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{http3.NextProtoH3},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	stream, err := new(http3.Transport).NewClientConn(conn).OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPost, "https://127.0.0.1"+path, http.NoBody)
	req.ContentLength = size
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	return stream
}

func readHTTP3(stream *http3.RequestStream) (int, string, error) {
	res, err := stream.ReadResponse()
	if err != nil {
		return 0, "", err
	}
	body, err := readAll(res.Body)
	return res.StatusCode, body, err
}

// framesConn is a connection of HTTP/2 of which a test sees all frames.
type framesConn struct {
	framer *http2.Framer
	fields bytes.Buffer
	enc    *hpack.Encoder

	mu     sync.Mutex // guards writes, and the rest
	change *sync.Cond
	window map[uint32]int64
	seen   []string // the frames of streams, as words
	status int
	body   []byte
	err    error // of reading
}

// dialFrames begins HTTP/2 on a connection and reads frames until its end.
func dialFrames(t *testing.T, conn net.Conn) *framesConn {
	t.Helper()
	c := &framesConn{framer: http2.NewFramer(conn, conn), window: map[uint32]int64{0: 65535, 1: 65535}}
	c.change = sync.NewCond(&c.mu)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.fields)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.readFrames()
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return c
}

func (c *framesConn) readFrames() {
	for {
		f, err := c.framer.ReadFrame()
		c.mu.Lock()
		if err != nil {
			c.err = err
		} else {
			c.note(f)
		}
		c.change.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// note keeps what a frame says. It requires c.mu.
func (c *framesConn) note(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.window[1] += int64(v) - 65535
		}
		_ = c.framer.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		c.window[f.StreamID] += int64(f.Increment)
	case *http2.MetaHeadersFrame:
		fmt.Sscan(f.PseudoValue("status"), &c.status)
		c.see("HEADERS", f.StreamEnded())
	case *http2.DataFrame:
		c.body = append(c.body, f.Data()...)
		c.see(fmt.Sprintf("DATA %d", len(f.Data())), f.StreamEnded())
	case *http2.RSTStreamFrame:
		c.see("RST_STREAM "+f.ErrCode.String(), false)
	case *http2.GoAwayFrame:
		c.see("GOAWAY "+f.ErrCode.String(), false)
	}
}

func (c *framesConn) see(word string, end bool) {
	if end {
		word += " END_STREAM"
	}
	c.seen = append(c.seen, word)
}

// frames are those of streams up to now.
func (c *framesConn) frames() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.seen, ", ")
}

// head sends the head of a request on stream 1, whose body follows.
func (c *framesConn) head(path string, fields ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fields.Reset()
	fields = append([]string{":method", "POST", ":scheme", "https", ":authority", "127.0.0.1", ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields.Bytes(), EndHeaders: true})
}

// data sends a part of the body when the windows allow it. A reset is an error, whatever it says.
func (c *framesConn) data(n int, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window[0] < int64(n) || c.window[1] < int64(n) {
		if err := c.broken(); err != nil {
			return err
		}
		c.change.Wait()
	}
	if err := c.broken(); err != nil {
		return err
	}
	c.window[0] -= int64(n)
	c.window[1] -= int64(n)
	return c.framer.WriteData(1, end, make([]byte, n))
}

// broken requires c.mu.
func (c *framesConn) broken() error {
	for _, word := range c.seen {
		if strings.HasPrefix(word, "RST_STREAM") || strings.HasPrefix(word, "GOAWAY") {
			return errors.New(word)
		}
	}
	return c.err
}

func (c *framesConn) upload(_ uint32, path string, size int64) error {
	if err := c.head(path, "content-length", fmt.Sprint(size)); err != nil {
		return err
	}
	const piece = 16 << 10
	for size > 0 {
		n := min(size, piece)
		size -= n
		if err := c.data(int(n), size == 0); err != nil {
			return err
		}
	}
	return nil
}

// answer waits for the end of the stream.
func (c *framesConn) answer(t *testing.T) (int, string, error) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.broken() != nil || (len(c.seen) > 0 && strings.HasSuffix(c.seen[len(c.seen)-1], "END_STREAM"))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, string(c.body), c.broken()
}

// A client that sends all of its request before it reads gets the answer that was made in the
// meantime, by any part of the site.
func TestStrictClientsGetTheirRefusal(t *testing.T) {
	const pool = "offload {\nname %s\nconcurrency 1\nqueue 0\n%s\n}\n"
	const proxy = "reverse_proxy UPSTREAM\n"
	discardWithin(t, time.Minute, time.Minute)
	for name, tt := range map[string]struct {
		site   string
		full   bool
		status int
		body   string
	}{
		"the pool is full":          {fmt.Sprintf(pool, "plainly", "") + proxy, true, 503, "Service Unavailable\n"},
		"routes of handle_reject":   {fmt.Sprintf(pool, "rejects", "handle_reject {\nrespond \"try later\" 529\n}") + proxy, true, 529, "try later"},
		"the pool within is full":   {"route {\noffload {\nname around\nrequest_spool off\n}\n" + fmt.Sprintf(pool, "within", "") + proxy + "}", true, 503, "Service Unavailable\n"},
		"error routes":              {fmt.Sprintf(pool, "fails", "") + proxy + "handle_errors 404 {\nrespond other\n}\nhandle_errors {\nrespond \"{err.status_code}\"\n}", true, 503, "503"},
		"a length that is too much": {fmt.Sprintf(pool, "declared", "request_spool 64KiB") + proxy, false, 413, "Request Entity Too Large\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(blocking), tt.site)
			if tt.full {
				holdOne(t, s, s.Clients()["h2"], "/hold-"+t.Name())
			}
			for version, send := range strictClients() {
				t.Run(version, func(t *testing.T) {
					status, body, err := send(t, s, "/", strictUpload)
					if status != tt.status || body != tt.body || err != nil {
						t.Errorf("got %d %q, %v", status, body, err)
					}
				})
			}
		})
	}
}

// So does a client whose run is ended by a timeout while it takes the body from it. On HTTP/2
// a body that was stopped cannot be read on, as net/http has no way to do that.
func TestStrictClientsGetTheirTimeout(t *testing.T) {
	discardWithin(t, time.Minute, time.Minute)
	ends := make(chan struct{})
	s := site.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ends }), `
	offload {
		name unspooled
		request_spool off
		first_byte_timeout 200ms
	}
	reverse_proxy UPSTREAM`)
	defer close(ends)
	for version, send := range strictClients() {
		if version == "h2" {
			continue
		}
		t.Run(version, func(t *testing.T) {
			if status, body, err := send(t, s, "/", 2*strictUpload); status != 504 || body != "Gateway Timeout\n" || err != nil {
				t.Errorf("got %d %q, %v", status, body, err)
			}
		})
	}
}

// refusing is a site that rejects all requests but the one that holds its permit.
func refusing(t *testing.T, name, more string) (*site.Site, *operator) {
	t.Helper()
	s, o := serveOperated(t, http.HandlerFunc(blocking), fmt.Sprintf("%s\noffload {\nname %s\nconcurrency 1\nqueue 0\n}\nreverse_proxy UPSTREAM", more, name))
	holdOne(t, s, s.Clients()["h2"], "/hold-"+t.Name())
	return s, o
}

func (c *framesConn) want(t *testing.T, frames string) {
	t.Helper()
	if !testkit.Poll(10*time.Second, func() bool { return c.frames() == frames }) {
		t.Fatalf("the frames are %s, want %s", c.frames(), frames)
	}
}

// On HTTP/2 the whole answer but for the flag of its end is sent while the upload goes on. The
// flag follows the upload, or comes before the reset of one that does not end. A
// client that waits to be asked for its body is not asked. A call of gRPC gets the end and the
// reset at once.
func TestFramesOfRefusals(t *testing.T) {
	discardWithin(t, time.Minute, 500*time.Millisecond)
	s, _ := refusing(t, "frames", "")
	const answer = "HEADERS, DATA 20"
	for name, tt := range map[string]struct {
		fields []string
		ends   bool
		frames []string
	}{
		"an upload that ends":     {nil, true, []string{answer, answer + ", DATA 0 END_STREAM"}},
		"an upload that does not": {nil, false, []string{answer, answer + ", DATA 0 END_STREAM, RST_STREAM NO_ERROR"}},
		"one to be asked for":     {[]string{"expect", "100-continue"}, false, []string{answer + ", DATA 0 END_STREAM, RST_STREAM NO_ERROR"}},
		"gRPC":                    {[]string{"content-type", "application/grpc"}, false, []string{"HEADERS END_STREAM, RST_STREAM NO_ERROR"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialFrames(t, dialTLS(t, s, "h2"))
			if err := c.head("/", append([]string{"content-length", "4194304"}, tt.fields...)...); err != nil {
				t.Fatal(err)
			}
			for i, frames := range tt.frames {
				c.want(t, frames)
				if i > 0 || !tt.ends {
					continue
				}
				for n := range 256 {
					if err := c.data(16<<10, n == 255); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// On HTTP/3 the whole answer, its end included, is there while the upload goes on, and the
// upload is read until it ends.
func TestHTTP3AnswersEndBeforeTheUpload(t *testing.T) {
	discardWithin(t, time.Minute, time.Minute)
	s, _ := refusing(t, "streams", "")
	stream := openHTTP3(t, s, "/", strictUpload)
	if _, err := io.Copy(stream, nulls(1<<20)); err != nil {
		t.Fatal(err)
	}
	if status, body, err := readHTTP3(stream); status != 503 || body != "Service Unavailable\n" || err != nil {
		t.Errorf("got %d %q, %v", status, body, err)
	}
	if _, err := io.Copy(stream, nulls(strictUpload-1<<20)); err != nil {
		t.Error(err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, func() bool { return caddymodule.Discarder().Now() == 0 })
}

// On HTTP/1 the answer is complete, and its direction closed, while the upload goes on. It is
// logged as any answer is. What is more than the bound is not read.
func TestHTTP1AnswersEndBeforeTheUpload(t *testing.T) {
	discardWithin(t, time.Minute, time.Minute)
	s, _ := refusing(t, "connections", "")
	for name, conn := range map[string]net.Conn{"clear": dialTCP(t, s.Clear), "TLS": dialTLS(t, s, "http/1.1")} {
		t.Run(name, func(t *testing.T) {
			path := "/logged-" + name
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", path, 1<<30)
			if status, body, err := readHTTP1(conn); status != 503 || body != "Service Unavailable\n" || err != nil {
				t.Fatalf("got %d %q, %v", status, body, err)
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("after the answer there are %d bytes, %v", n, err)
			}
			testkit.Eventually(t, func() bool { return len(s.Logged(path)) == 1 })
			for _, field := range []string{`"status":503`, `"size":20`, `"reason":"queue_full"`} {
				if line := s.Logged(path)[0]; !strings.Contains(line, field) {
					t.Errorf("no %s in the log: %s", field, line)
				}
			}
			n, err := io.Copy(conn, nulls(1<<30))
			if n < 32<<20 || err == nil {
				t.Errorf("%d bytes were taken, %v", n, err)
			}
		})
	}
	testkit.Eventually(t, func() bool { return caddymodule.Discarder().Now() == 0 })
}

// A client of HTTP/1 that waits to be asked for its body gets the answer alone.
func TestDiscardingAsksForNothing(t *testing.T) {
	s, _ := refusing(t, "asks", "")
	conn := dialTCP(t, s.Clear)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", strictUpload)
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 503 ") || strings.Contains(string(got), " 100 ") {
		t.Errorf("got %q, %v", got, err)
	}
}

// Rejected uploads that trickle take no place in the pool, and end.
func TestTricklingUploadsAreRefusedInTheEnd(t *testing.T) {
	discardWithin(t, 3*time.Second, 3*time.Second)
	s, o := refusing(t, "trickles", "")
	var all sync.WaitGroup
	for range 10 {
		trickles := map[string]func() error{}
		for name, conn := range map[string]net.Conn{"clear": dialTCP(t, s.Clear), "TLS": dialTLS(t, s, "http/1.1")} {
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", 1<<30)
			trickles[name] = func() error { _, err := conn.Write([]byte("x")); return err }
		}
		frames := dialFrames(t, dialTLS(t, s, "h2"))
		if err := frames.head("/", "content-length", "1000000"); err != nil {
			t.Fatal(err)
		}
		trickles["h2"] = func() error { return frames.data(1, false) }
		stream := openHTTP3(t, s, "/", 1<<30)
		trickles["h3"] = func() error { _, err := stream.Write([]byte("x")); return err }
		for name, trickle := range trickles {
			all.Go(func() {
				if !testkit.Poll(20*time.Second, func() bool { return trickle() != nil }) {
					t.Errorf("%s trickles on", name)
				}
			})
		}
	}
	testkit.Eventually(t, func() bool { return caddymodule.Discarder().Now() > 0 })
	if p := o.get("pools/{name}", "trickles"); p["running"] != 1.0 || p["waiting"] != 0.0 || p["uploading"] != 0.0 {
		t.Errorf("the pool is %v", p)
	}
	for _, phase := range []string{"running", "waiting"} {
		if all := o.requests(phase, "trickles"); len(all) > 1 {
			t.Errorf("%s: %v", phase, all)
		}
	}
	all.Wait()
	testkit.Eventually(t, func() bool {
		d := caddymodule.Discarder()
		return d.Now() == 0 && d.Ended(discard.TooLong) == 40
	})
}

// Clients of all kinds and versions are rejected in the middle of their uploads, while other
// requests are served. None of these is lost, and nothing is left behind.
func TestStormOfRefusedUploads(t *testing.T) {
	discardWithin(t, time.Minute, time.Second)
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	metrics /metrics
	offload /served* {
		name served
		max_wait 1m
	}
	@refused not path /served* /metrics
	offload @refused {
		name storms
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/hold-"+t.Name())
	clients := s.Clients()
	kinds := stormKinds(s)
	for _, send := range kinds { // so that what stays in any case is there
		t.Run("first", send)
	}
	for _, c := range clients {
		site.Get(t, c, "https://"+s.Addr+"/served")
		c.CloseIdleConnections()
	}
	before := stateOf(t, s)
	stop := make(chan struct{})
	var storm, served sync.WaitGroup
	for name, c := range clients {
		served.Go(func() {
			for stopped := false; !stopped; {
				if res, body := site.Get(t, c, "https://"+s.Addr+"/served"); res.StatusCode != 200 || body != "ok" {
					t.Errorf("%s got %d %q", name, res.StatusCode, body)
				}
				select {
				case <-stop:
					stopped = true
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		mine := make([]func(*testing.T), 5)
		for i := range mine {
			mine[i] = kinds[random.IntN(len(kinds))]
		}
		storm.Go(func() {
			for _, send := range mine {
				t.Run("storm", send)
			}
		})
	}
	storm.Wait()
	close(stop)
	served.Wait()
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	if p := o.get("pools/{name}", "storms"); p["running"] != 1.0 || p["waiting"] != 0.0 || p["uploading"] != 0.0 {
		t.Errorf("the pool is %v", p)
	}
	var after processState
	if !testkit.Poll(time.Minute, func() bool {
		after = stateOf(t, s)
		return caddymodule.Discarder().Now() == 0 && !before.grownTo(after)
	}) {
		t.Errorf("%d are discarded; it was %+v and is %+v", caddymodule.Discarder().Now(), before, after)
	}
}

// stormKinds are clients that close their connections: strict ones, and on each version those
// that leave in the middle, that pause, and that send more than is read.
func stormKinds(s *site.Site) []func(*testing.T) {
	var kinds []func(*testing.T)
	for _, send := range strictClients() {
		kinds = append(kinds, func(t *testing.T) {
			if status, _, err := send(t, s, "/", 2<<20); status != 503 || err != nil {
				t.Errorf("got %d, %v", status, err)
			}
		})
	}
	for _, pause := range []time.Duration{0, 20 * time.Millisecond, 700 * time.Millisecond} {
		for _, secure := range []bool{false, true} {
			kinds = append(kinds, func(t *testing.T) {
				conn := dialTCP(t, s.Clear)
				if secure {
					conn = dialTLS(t, s, "http/1.1")
				}
				fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", 1<<30)
				_, _ = io.Copy(conn, nulls(300<<10))
				testkit.Pause(pause)
				conn.Close()
			})
		}
		kinds = append(kinds, func(t *testing.T) {
			conn := dialTLS(t, s, "h2")
			c := dialFrames(t, conn)
			if err := c.head("/", "content-length", "1000000"); err != nil {
				t.Error(err)
			}
			_ = c.data(10000, false)
			testkit.Pause(pause)
			conn.Close()
		}, func(t *testing.T) {
			stream := openHTTP3(t, s, "/", 1<<30)
			_, _ = io.Copy(stream, nulls(100<<10))
			testkit.Pause(pause)
			stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
			stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		})
	}
	return kinds
}
