package caddymodule_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// The upstream of the streaming tests.
func streamer(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	switch r.URL.Path {
	case "/sse":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			flush()
			await(r)
		}
	case "/trickle": // a declared length, a first part, and a pause
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "first")
		flush()
		await(r)
		io.WriteString(w, "later")
	case "/trailers":
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body")
		w.Header().Set("X-Announced", "yes")
		w.Header().Set(http.TrailerPrefix+"X-Surprise", "also")
	case "/early":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "body")
	case "/cut":
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "begin")
		flush()
		panic(http.ErrAbortHandler)
	case "/cutchunked":
		io.WriteString(w, strings.Repeat("x", 300_000))
		flush()
		panic(http.ErrAbortHandler)
	case "/echo":
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x %v %v", n, h.Sum(nil), r.ContentLength, r.Trailer.Get("X-Sum"))
	}
}

// step lets a streaming upstream go on.
var step = make(chan struct{})

func await(r *http.Request) {
	select {
	case <-step:
	case <-r.Context().Done():
	}
}

func streamingSite(t *testing.T) *site.Site {
	return site.Serve(t, http.HandlerFunc(streamer), `
	offload {
		name streams
		breaker off
	}
	reverse_proxy UPSTREAM`)
}

// Each event reaches the client before the next one is made.
func TestEventsArriveAsTheyAreProduced(t *testing.T) {
	s := streamingSite(t)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url + "/sse")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			line, err := lines.ReadString('\n')
			if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
				t.Fatalf("got %q, %v, want %q", line, err, want)
			}
			lines.ReadString('\n')
			step <- struct{}{}
		}
	})
}

// A response of declared length is handed on without a flush.
func TestIncompleteResponsesAreHandedOn(t *testing.T) {
	s := streamingSite(t)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url + "/trickle")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		step <- struct{}{}
		if body, err := readAll(res.Body); body != "firstlater" || err != nil || res.ContentLength != 10 {
			t.Errorf("got %q, %v, length %d", body, err, res.ContentLength)
		}
	})
}

func TestTrailersAndEarlyHints(t *testing.T) {
	s := streamingSite(t)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url+"/trailers")
		if body != "body" || res.Trailer.Get("X-Announced") != "yes" || res.Trailer.Get("X-Surprise") != "also" {
			t.Errorf("got %q, trailers %v", body, res.Trailer)
		}
		res, body = site.Get(t, c, url+"/early")
		if body != "body" || res.StatusCode != 200 || res.Header.Get("Link") != "" {
			t.Errorf("got %d %q %v", res.StatusCode, body, res.Header)
		}
	})
}

// A response that the upstream cuts short is cut short for the client.
func TestCutResponsesStayCut(t *testing.T) {
	s := streamingSite(t)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, path := range []string{"/cut", "/cutchunked"} {
			res, err := c.Get(url + path)
			if err != nil {
				continue // cut before the head is a cut too
			}
			if body, err := readAll(res.Body); err == nil {
				t.Errorf("%s: a clean end after %d bytes", path, len(body))
			}
			res.Body.Close()
		}
	})
}

// Bodies of all sizes arrive whole, with their length known, and their trailers.
func TestRequestBodies(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(streamer), `
	offload {
		name bodies
		request_spool 64KiB 1MiB
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, size := range []int{0, 1, 4096, 32 << 10, 64 << 10, 64<<10 + 1, 1<<20 + 64<<10} {
			data := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
			want := fmt.Sprintf("%d %x %d ", size, sha256.Sum256(data), size)
			for _, known := range []bool{true, false} {
				var src io.Reader = bytes.NewReader(data)
				if !known {
					src = io.MultiReader(src)
				}
				req, _ := http.NewRequest(http.MethodPost, url+"/echo", src)
				if res, body := site.Do(t, c, req); res.StatusCode != 200 || body != want {
					t.Errorf("size %d, known %v: got %d %q, want %q", size, known, res.StatusCode, body, want)
				}
			}
		}
		for _, known := range []bool{true, false} {
			var src io.Reader = bytes.NewReader(make([]byte, 1<<20+64<<10+1))
			if !known {
				src = io.MultiReader(src)
			}
			req, _ := http.NewRequest(http.MethodPost, url+"/echo", src)
			if res, _ := site.Do(t, c, req); res.StatusCode != 413 {
				t.Errorf("known %v: got %d for a body that is too large", known, res.StatusCode)
			}
		}
	})
	t.Run("trailers", func(t *testing.T) {
		req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr+"/echo", io.MultiReader(strings.NewReader("body")))
		req.Trailer = http.Header{"X-Sum": {"42"}}
		_, body := site.Do(t, s.Clients()["h1"], req)
		if !strings.HasSuffix(body, " -1 42") {
			t.Errorf("got %q", body)
		}
	})
}

// A client that reads slowly holds no permit: the upstream is done long before.
func TestSlowReadersHoldNoPermit(t *testing.T) {
	var up site.Counter
	const size = 8 << 20
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		up.Enter()
		defer up.Leave()
		w.Write(make([]byte, size))
	}), `
	offload {
		name slow-readers
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, _ *http.Client, url string) {
		var slow []*http.Response
		for range 4 {
			// Each on a separate connection, because the window of one is limited.
			c := s.Clients()[t.Name()[strings.LastIndex(t.Name(), "/")+1:]]
			testkit.Eventually(t, func() bool { // until the permit is back
				res, err := c.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode == 200 {
					slow = append(slow, res)
					return true
				}
				res.Body.Close()
				return false
			})
		}
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
		for _, res := range slow {
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
			res.Body.Close()
		}
	})
}

// A client that uploads slowly holds no permit and no place either.
func TestSlowUploadsHoldNoPermit(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(streamer), `
	offload {
		name slow-uploads
		concurrency 1
		queue 5
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, writer := io.Pipe()
		done := make(chan string)
		go func() {
			req, _ := http.NewRequest(http.MethodPost, url+"/echo", body)
			res, err := c.Do(req)
			if err != nil {
				done <- err.Error()
				return
			}
			defer res.Body.Close()
			text, _ := readAll(res.Body)
			done <- text
		}()
		io.WriteString(writer, "slow")
		for range 20 {
			if res, _ := site.Get(t, c, url+"/echo"); res.StatusCode != 200 {
				t.Fatalf("got %d beside a slow upload", res.StatusCode)
			}
		}
		writer.Close()
		if got := <-done; !strings.HasPrefix(got, "4 ") {
			t.Errorf("the upload got %q", got)
		}
	})
}

// When all places of uploads are taken, trickling uploads lose theirs.
func TestTricklingUploadsGiveWay(t *testing.T) {
	s := site.ServeGlobal(t, http.HandlerFunc(streamer), `
	offload {
		spool {
			uploads 3
		}
	}`, `
	offload {
		name trickles
	}
	metrics /metrics
	reverse_proxy UPSTREAM`)
	slow, ended := make(map[string]io.Closer), make(map[string]chan int)
	for name, c := range s.Clients() {
		body, writer := io.Pipe()
		slow[name] = writer
		ended[name] = make(chan int, 1)
		go func() {
			res, err := c.Post("https://"+s.Addr+"/echo", "text/plain", body)
			if err != nil {
				ended[name] <- 0
				return
			}
			res.Body.Close()
			ended[name] <- res.StatusCode
		}()
		io.WriteString(writer, "slow")
	}
	testkit.Eventually(t, func() bool { return scrape(t, s)["uploads"] == 3 })
	for _, c := range s.Clients() {
		testkit.Eventually(t, func() bool { // after five seconds
			req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr+"/echo", strings.NewReader("quick"))
			res, body := site.Do(t, c, req)
			return res.StatusCode == 200 && strings.HasPrefix(body, "5 ")
		})
	}
	gaveWay := 0
	for name, writer := range slow {
		writer.Close()
		switch status := <-ended[name]; status {
		case 200:
		case 408:
			gaveWay++
		default:
			t.Errorf("%s: got %d", name, status)
		}
	}
	if gaveWay == 0 {
		t.Error("nobody gave way")
	}
}

// A writer that is blocked by a full spool for too long is aborted.
func TestStallTimeout(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		up.Enter()
		defer up.Leave()
		w.Write(make([]byte, 64<<20))
	}), `
	offload {
		name stalls
		response_spool 64KiB 64KiB
		stall_timeout 200ms
		breaker {
			consecutive_failures 1
		}
	}
	respond /alive "closed"
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		start := time.Now()
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if n, err := io.Copy(io.Discard, res.Body); err == nil || n >= 64<<20 {
			t.Errorf("a clean end after %d bytes", n)
		}
		if alive, _ := site.Get(t, c, url+"/alive"); alive.StatusCode != 200 {
			t.Error("a slow client counted against the backend")
		}
	})
}

// A response that ends before its declared length is cut, also on HTTP/3, where no other
// layer would notice.
func TestShortResponsesAreCut(t *testing.T) {
	name := site.HandleBehind(t, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "100")
		_, err := io.WriteString(w, "short")
		return err
	})
	s := site.Serve(t, nil, `
	offload {
		name short
	}
	`+name)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			return
		}
		defer res.Body.Close()
		if body, err := readAll(res.Body); err == nil {
			t.Errorf("a clean end after %q", body)
		}
	})
}
