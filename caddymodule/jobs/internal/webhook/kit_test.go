package webhook_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestMain(m *testing.M) {
	// A sender that used the proxies of the environment could not deliver anything.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		os.Setenv(name, "http://127.0.0.1:1")
	}
	// Keys of 24 bytes.
	os.Setenv("HOOK_SECRET", "whsec_"+firstKey)
	testkit.Main(m)
}

const (
	firstKey  = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secondKey = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var secrets = []webhook.Secret{{Name: "main", Env: "HOOK_SECRET"}}

// anyHost lets clients name any host.
func anyHost() *webhook.Config {
	return &webhook.Config{FromHeader: "Callback", AllowHost: []string{"*"}, Secrets: secrets}
}

// to lets messages be sent to a server of the test on this machine.
func to(s *httptest.Server) *webhook.Config {
	port := s.Listener.Addr().(*net.TCPAddr).Port
	return &webhook.Config{
		URL: "http://hook.test:" + strconv.Itoa(port) + "/in", AllowHTTP: true, AllowPort: []int{port},
		AllowPrivate: []string{"127.0.0.1/32"}, Secrets: secrets,
	}
}

// open opens a sender that looks names up in the test: each of them has the address 127.0.0.1.
func open(t *testing.T, c *webhook.Config) *webhook.Sender {
	t.Helper()
	s, err := c.Open(func(r *jobs.Record) string { return "https://site.test/.jobs/" + r.ID.String() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.UseResolver(names(func() string { return "127.0.0.1" }))
	return s
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// ended is a job that has succeeded.
func ended(url string) jobs.Message {
	r := &jobs.Record{
		ID:    jobs.ID{1, 2, 3},
		State: jobs.Succeeded, Generation: 2, Attempt: 3, Route: "report",
		Ended:    time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Response: &jobs.Response{Status: 200, Complete: true, Header: []jobs.Field{{Name: "Content-Type", Value: "text/plain"}}},
		Hook:     &jobs.Hook{URL: url, Secret: "main"},
	}
	return jobs.Message{ID: r.ID.String() + "-2", Record: r, Try: 1}
}

// deliver sends the message of a job that has ended.
func deliver(t *testing.T, c *webhook.Config) jobs.Delivery {
	t.Helper()
	return open(t, c).Deliver(t.Context(), ended(c.URL))
}

// names is a resolver that answers each question for an address of version 4 with the next one.
func names(next func() string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerName(server, next)
		return client, nil
	}}
}

// answerName answers one question in the form of DNS over TCP.
func answerName(c net.Conn, next func() string) {
	defer c.Close()
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	var m dnsmessage.Message
	if _, err := io.ReadFull(c, packet); err != nil || m.Unpack(packet) != nil {
		return
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(next()).To4())},
		}}
	}
	packet, err := m.Pack()
	if err != nil {
		return
	}
	c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
}
