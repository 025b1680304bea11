package streams

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Each piece of a stream reaches its client before the next one is produced, with any
// declared type and although backends cannot request a flush.
func TestStreamsArriveInPieces(t *testing.T) {
	p := newPacer(t)
	plain, offloaded := pacedTwins(t, p)
	for name, s := range map[string]*site.Site{"plain": plain, "offload": offloaded} {
		for version, c := range s.Clients() {
			for kind := range streamKinds {
				if name == "plain" && kind == "known length" {
					continue
				}
				t.Run(name+"/"+version+"/"+kind, func(t *testing.T) {
					inTime(t, kind, func() {
						stream := p.stream(t, s, c, kind)
						for range 20 {
							stream.next()
						}
						stream.end()
					})
				})
			}
		}
	}
}

// talker is an upstream that answers a body while it comes.
func talker(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	if r.URL.Path == "/early" {
		io.WriteString(w, "enough")
		return
	}
	buf := make([]byte, 4)
	for {
		if _, err := io.ReadFull(r.Body, buf); err != nil {
			return
		}
		w.Write(buf)
		control.Flush()
	}
}

// With request_spool off a client and an upstream may talk both ways at once, on
// HTTP/1.1 if the server is set to.
func TestStreamsInBothDirections(t *testing.T) {
	kit.BesidesCaddysRaces(t, checkDirections)
}

func checkDirections(t *testing.T) {
	const global = "servers {\nprotocols h1 h2 h2c h3\nenable_full_duplex\n}"
	plain, offloaded := site.ServeTwins(t, http.HandlerFunc(talker), global, "offload {\nname duplex\nconcurrency 1\nqueue 5\nrequest_spool off\n}", "OFFLOAD\nreverse_proxy UPSTREAM")
	for name, s := range map[string]*site.Site{"plain": plain, "offload": offloaded} {
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			inTime(t, name+" talk", func() { talk(t, c, url) })
			inTime(t, name+" early", func() { answerEarly(t, c, url) })
		})
	}
}

func talk(t *testing.T, c *http.Client, url string) {
	body, writer := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	go io.WriteString(writer, "ping") // HTTP/1.1 sends the head with it
	res, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	buf := make([]byte, 4)
	for i := range 10 {
		if _, err := io.ReadFull(res.Body, buf); err != nil {
			t.Errorf("answer %d: %v", i, err)
			return
		}
		fmt.Fprintf(writer, "%04d", i)
	}
	writer.Close()
	if rest, err := io.ReadAll(res.Body); string(rest) != "0009" || err != nil {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

// answerEarly sends a body that the backend does not read, and never ends it.
func answerEarly(t *testing.T, c *http.Client, url string) {
	body, writer := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/early", body)
	go io.WriteString(writer, "some")
	res, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	if text, err := io.ReadAll(res.Body); string(text) != "enough" || err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("got %d %q, %v", res.StatusCode, text, err)
	}
	res.Body.Close()
	writer.CloseWithError(io.ErrClosedPipe)
}
