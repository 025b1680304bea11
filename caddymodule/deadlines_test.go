package caddymodule_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Handlers that pass work on can read its deadlines.
func TestDeadlinesOfARun(t *testing.T) {
	for name, tt := range map[string]struct {
		words          string
		firstByte, end time.Duration // zero for never
	}{
		"the default":       {"offload", time.Minute, 0},
		"both":              {"offload {\nfirst_byte_timeout 5s\nrun_timeout 9s\n}", 5 * time.Second, 9 * time.Second},
		"neither":           {"offload {\nfirst_byte_timeout off\n}", 0, 0},
		"outside of a run":  {"", 0, 0},
		"the shorter ones":  {"offload {\nfirst_byte_timeout 5s\nrun_timeout 9s\n}\noffload {\nfirst_byte_timeout 7s\nrun_timeout 8s\n}", 5 * time.Second, 8 * time.Second},
		"the whole":         {"offload {\nfirst_byte_timeout off\nmax_time 7s\n}", 0, 7 * time.Second},
		"the shorter whole": {"offload {\nfirst_byte_timeout 5s\nrun_timeout 9s\nmax_time 8s\n}", 5 * time.Second, 8 * time.Second},
		"what the outer is": {"offload {\nfirst_byte_timeout 5s\n}\noffload {\nfirst_byte_timeout off\n}", 5 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var firstByte, end time.Time
			behind := site.HandleBehind(t, func(_ http.ResponseWriter, r *http.Request) error {
				firstByte, end = caddymodule.Deadlines(r.Context())
				return nil
			})
			began := time.Now()
			s := site.Serve(t, nil, "route {\n"+tt.words+"\n"+behind+"\n}")
			site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
			answered := time.Now()
			for _, moment := range []struct {
				name string
				got  time.Time
				want time.Duration
			}{{"first byte", firstByte, tt.firstByte}, {"end", end, tt.end}} {
				if moment.want == 0 {
					if !moment.got.IsZero() {
						t.Errorf("%s is at %s", moment.name, moment.got)
					}
				} else if moment.got.Before(began.Add(moment.want)) || moment.got.After(answered.Add(moment.want)) {
					t.Errorf("%s is in %s, want %s", moment.name, moment.got.Sub(began), moment.want)
				}
			}
		})
	}
}
