package webhook_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var quiet = log.New(io.Discard, "", 0)

func TestTheAnswerDecides(t *testing.T) {
	for _, test := range []struct {
		status     int
		retryAfter string
		want       jobs.Delivery
	}{
		{200, "", jobs.Delivery{Delivered: true}},
		{204, "", jobs.Delivery{Delivered: true}},
		{299, "60", jobs.Delivery{Delivered: true}},
		{301, "", jobs.Delivery{Error: "status_301"}},
		{308, "60", jobs.Delivery{Error: "status_308"}},
		{400, "", jobs.Delivery{Error: "status_400"}},
		{410, "", jobs.Delivery{Gone: true, Error: "status_410"}},
		{429, "7", jobs.Delivery{RetryAfter: 7 * time.Second, Error: "status_429"}},
		{500, "7", jobs.Delivery{Error: "status_500"}},
		{503, "60", jobs.Delivery{RetryAfter: time.Minute, Error: "status_503"}},
		{503, "soon", jobs.Delivery{Error: "status_503"}},
	} {
		var requests int
		endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.Header().Set("Retry-After", test.retryAfter)
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(test.status)
		})
		got := deliver(t, to(endpoint))
		endpoint.Close()
		if got != test.want {
			t.Errorf("status %d, Retry-After '%s': %+v, want %+v", test.status, test.retryAfter, got, test.want)
		}
		if requests != 1 {
			t.Errorf("status %d: %d requests", test.status, requests)
		}
	}
}

func TestTheRequestHasNothingButTheMessage(t *testing.T) {
	got := make(chan *http.Request, 1)
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		got <- r
	})
	c := to(endpoint)
	s := open(t, c)
	for range 2 {
		s.Deliver(t.Context(), ended(c.URL))
		r := testkit.Receive(t, got)
		for name := range r.Header {
			switch name {
			case "Content-Type", "Content-Length", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature":
			default:
				t.Errorf("the request has the field %s: %s", name, r.Header.Get(name))
			}
		}
		if r.Method != http.MethodPost || r.URL.Path != "/in" || !strings.HasPrefix(r.Host, "hook.test:") {
			t.Errorf("the request is %s %s at %s", r.Method, r.URL, r.Host)
		}
	}
}

// An endpoint that sends without end takes no time and no memory.
func TestALongAnswerIsNotRead(t *testing.T) {
	left := make(chan struct{})
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		for {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	began := time.Now()
	if got := deliver(t, to(endpoint)); !got.Delivered {
		t.Errorf("the delivery is %+v", got)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the delivery took %s", took)
	}
	testkit.Receive(t, left)
}

// Owners of jobs see errors. What a server sends that is no endpoint is not in them.
func TestErrorsHoldNothingOfTheEndpoint(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":        "220 internal.example ESMTP\r\n",
		"a bad head":     "HTTP/1.1 200 OK\r\ninternal\r\n\r\n",
		"a long head":    "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("internal", 8<<10) + "\r\n\r\n",
		"nothing":        "",
		"a bad encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: internal\r\n\r\n",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			io.CopyN(io.Discard, c, 1)
			io.WriteString(c, answer)
		}()
		port := ln.Addr().(*net.TCPAddr).Port
		c := &webhook.Config{
			URL: "http://hook.test:" + strconv.Itoa(port), AllowHTTP: true, AllowPort: []int{port},
			AllowPrivate: []string{"127.0.0.0/8"}, Secrets: secrets,
		}
		if got, want := deliver(t, c), (jobs.Delivery{Error: "answer"}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		ln.Close()
		if got, want := deliver(t, c), (jobs.Delivery{Error: "connect"}); got != want {
			t.Errorf("a closed port: %+v, want %+v", got, want)
		}
	}
}

func TestAnUnknownName(t *testing.T) {
	c := &webhook.Config{URL: "https://hook.test/", Secrets: secrets}
	s := open(t, c)
	s.UseResolver(&net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, io.EOF
	}})
	if got, want := s.Deliver(t.Context(), ended(c.URL)), (jobs.Delivery{Error: "lookup"}); got != want {
		t.Errorf("the delivery is %+v, want %+v", got, want)
	}
}

func TestASilentEndpointIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &webhook.Config{URL: "http://hook.test/", AllowHTTP: true, Secrets: secrets}
		s := open(t, c)
		s.UseDial(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				io.Copy(io.Discard, server)
				server.Close()
			}()
			return client, nil
		})
		began := time.Now()
		if got, want := s.Deliver(t.Context(), ended(c.URL)), (jobs.Delivery{Error: "timeout"}); got != want {
			t.Errorf("the delivery is %+v, want %+v", got, want)
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// A configuration may change while jobs wait with their webhooks.
func TestRulesHoldAtTheDelivery(t *testing.T) {
	endpoint := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the endpoint got a request") })
	c := to(endpoint)
	message := ended(c.URL)
	c.URL, c.FromHeader, c.AllowHost = "", "Callback", []string{"other.test"}
	if got, want := open(t, c).Deliver(t.Context(), message), (jobs.Delivery{Error: "url"}); got != want {
		t.Errorf("a host that is no longer allowed: %+v, want %+v", got, want)
	}
	c.AllowHost = []string{"*"}
	message.Record.Hook.Secret = "removed"
	if got, want := open(t, c).Deliver(t.Context(), message), (jobs.Delivery{Error: "secret"}); got != want {
		t.Errorf("a secret that was removed: %+v, want %+v", got, want)
	}
}

func TestTheSenderOfTheRouteSends(t *testing.T) {
	got := make(chan string, 1)
	var table webhook.Table
	deliver := func() jobs.Delivery { return table.Deliver(t.Context(), ended("http://hook.test/")) }
	bind := func(name string) (unbind func()) {
		endpoint := serve(t, func(http.ResponseWriter, *http.Request) { got <- name })
		s := open(t, &webhook.Config{URL: "http://hook.test/", AllowHTTP: true, Secrets: secrets})
		s.UseDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", endpoint.Listener.Addr().String())
		})
		return table.Bind("report", s)
	}
	want := func(name string) {
		t.Helper()
		if d := deliver(); !d.Delivered {
			t.Fatalf("the delivery is %+v", d)
		}
		if by := testkit.Receive(t, got); by != name {
			t.Errorf("sent by %s, want %s", by, name)
		}
	}
	if d, want := deliver(), (jobs.Delivery{Error: "route"}); d != want {
		t.Errorf("without a sender: %+v, want %+v", d, want)
	}
	first := bind("first")
	want("first")
	second := bind("second")
	want("second")
	first()
	want("second")
	second()
	if d, want := deliver(), (jobs.Delivery{Error: "route"}); d != want {
		t.Errorf("after the last sender: %+v, want %+v", d, want)
	}
}
