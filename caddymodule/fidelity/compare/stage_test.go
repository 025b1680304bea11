package compare

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// stage is a site with a client for each version of HTTP.
type stage struct {
	clients map[string]client
	log     *accessLog
	same    *strings.Replacer // makes one site's address as good as another's
}

// client plays the client's part.
type client interface {
	// exchange fills x with the result.
	exchange(p *play, x *exchange)
}

func newStage(t *testing.T, s *site.Site) *stage {
	t.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"}
	var http1, clear http.Protocols
	http1.SetHTTP1(true)
	clear.SetUnencryptedHTTP2(true)
	h1 := &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: &http1, DisableCompression: true, ExpectContinueTimeout: patience}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true, DisableCompression: true, ExpectContinueTimeout: patience}
	h2c := &http.Transport{Protocols: &clear, DisableCompression: true, ExpectContinueTimeout: patience}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone(), DisableCompression: true}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h2c.CloseIdleConnections()
		_ = h3.Close()
	})
	testkit.Eventually(t, func() bool { // a server that has just started does not announce HTTP/3 yet
		res, _ := site.Get(t, &http.Client{Transport: h1}, "https://"+s.Addr+"/after")
		return res.Header.Get("Alt-Svc") != ""
	})
	return &stage{
		log: followAccessLog(t, s.Log),
		same: strings.NewReplacer(s.Addr, "SITE", s.Clear, "SITE",
			portOf(s.Addr), `":SITE"`, portOf(s.Clear), `":SITE"`),
		clients: map[string]client{
			"h1.0": rawClient{s.Clear, "HTTP/1.0"},
			"raw":  rawClient{s.Clear, "HTTP/1.1"},
			"h1":   roundTripper{"https://" + s.Addr, h1, true},
			"h2":   roundTripper{"https://" + s.Addr, h2, false},
			"h2c":  roundTripper{"http://" + s.Clear, h2c, false},
			"h3":   roundTripper{"https://" + s.Addr, h3, false},
		},
	}
}

// portOf is an address's port as Alt-Svc shows it.
func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return `":` + port + `"`
}

// play plays a trial and returns all that is to be known of it.
func (s *stage) play(t *testing.T, tr *trial, version string) *exchange {
	t.Helper()
	p := newPlay(tr)
	defer plays.Delete(p.id)
	x := new(exchange)
	s.clients[version].exchange(p, x)
	if !tr.unlogged && !testkit.Race {
		x.log = s.log.of(t, p.id)
	}
	p.mu.Lock()
	for _, c := range p.calls {
		x.upstream = append(x.upstream, c.message)
	}
	x.notes = p.notes
	for _, what := range p.vain {
		t.Errorf("%s: waited in vain for %s", version, what)
	}
	p.mu.Unlock()
	for _, list := range [][]message{x.informed, x.answers, x.upstream} {
		for i := range list {
			list[i].start = s.same.Replace(list[i].start)
			s.anywhere(list[i].fields)
		}
	}
	s.anywhere(x.log)
	if version == "h3" && (tr.verb() == http.MethodHead || strings.HasSuffix(x.answers[0].start, " 304")) {
		x.forgetNoLength()
	}
	if tr.normal != nil {
		tr.normal(x)
	}
	return x
}

func (s *stage) anywhere(fields []string) {
	for i := range fields {
		fields[i] = s.same.Replace(fields[i])
	}
}
