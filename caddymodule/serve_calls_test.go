package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// call asks as clients of gRPC do.
func call(t *testing.T, c *http.Client, url, timeout string) (*http.Response, string) {
	t.Helper()
	return site.Do(t, c, callRequest(t, url, timeout))
}

func callRequest(t *testing.T, url, timeout string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("call"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	if timeout != "" {
		req.Header.Set("Grpc-Timeout", timeout)
	}
	return req
}

// answerCall answers with the status that the path names, in the head or in trailers.
func answerCall(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	where, status, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	w.Header().Set("Content-Type", "application/grpc")
	if where == "head" {
		w.Header().Set("Grpc-Status", status)
		return
	}
	io.WriteString(w, "message")
	http.NewResponseController(w).Flush()
	if status != "none" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	}
}

// The outcome of a gRPC call is that of its grpc-status, not of its status 200: in the
// head, in the trailer, or missing. HTTP/1 has no gRPC: there the status of HTTP counts,
// for any content type.
func TestOutcomesOfCalls(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(answerCall), `
	offload {
		name calls
		breaker {
			failure_ratio off
			consecutive_failures 1000
		}
	}
	reverse_proxy UPSTREAM`)
	outcomes := map[string]string{
		"0": "success", "3": "success", "5": "success", "7": "success", "12": "success", "16": "success",
		"2": "failure", "4": "failure", "13": "failure", "14": "failure", "15": "failure", "none": "failure", "odd": "failure",
		"8": "excluded", "10": "excluded",
	}
	ended := func(outcome string) (of, all float64) {
		counts, _ := o.get("pools/{name}", "calls")["ended_total"].(object)
		for name, n := range counts {
			all += n.(float64)
			if name == outcome {
				of = n.(float64)
			}
		}
		return of, all
	}
	for _, version := range []string{"h2", "h3", "h1"} {
		t.Run(version, func(t *testing.T) {
			c := s.Clients()[version]
			for status, outcome := range outcomes {
				if version == "h1" {
					outcome = "success"
				}
				for _, where := range []string{"head", "trailers"} {
					if where == "head" && status == "none" {
						continue
					}
					before, all := ended(outcome)
					res, _ := call(t, c, "https://"+s.Addr+"/"+where+"/"+status, "")
					if res.StatusCode != 200 {
						t.Errorf("%s in %s: got %d", status, where, res.StatusCode)
					}
					testkit.Eventually(t, func() bool {
						_, now := ended("")
						return now == all+1
					})
					if now, _ := ended(outcome); now != before+1 {
						t.Errorf("%s in %s: not counted as %s", status, where, outcome)
					}
				}
			}
		})
	}
}

// A stream of messages that has begun well settles a probe: it may go on for hours.
func TestGoodHeadsOfCallsSettleProbes(t *testing.T) {
	work := make(chan struct{})
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			answerCall(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		io.WriteString(w, "message")
		http.NewResponseController(w).Flush()
		<-work
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}), `
	offload {
		name probed
		breaker {
			consecutive_failures 1
			cool_down 100ms
		}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	call(t, c, "https://"+s.Addr+"/trailers/14", "")
	o.eventually("probed", func(p object) bool { return p["breaker"] != "closed" })
	testkit.Eventually(t, func() bool { return o.get("pools/{name}", "probed")["breaker"] == "half_open" })
	a := askFor(c, callRequest(t, "https://"+s.Addr+"/stream", ""))
	o.eventually("probed", func(p object) bool { return p["breaker"] == "closed" && p["running"] == 1.0 })
	work <- struct{}{}
	a.want(t, 200)
}

// A call whose deadline passes while it waits is not run: its client no longer waits.
func TestCallsPastTheirTimeAreNotRun(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name late
		concurrency 1
		queue 10
		max_wait off
	}
	reverse_proxy UPSTREAM`)
	for _, version := range []string{"h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			c := s.Clients()[version]
			first := askFor(c, callRequest(t, "https://"+s.Addr, ""))
			testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
			before, begin := up.Total.Load(), time.Now()
			res, _ := call(t, c, "https://"+s.Addr, "200m")
			if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "4" {
				t.Errorf("got %d %v", res.StatusCode, res.Header)
			}
			if took := time.Since(begin); took < 200*time.Millisecond || took > 2*time.Second {
				t.Errorf("answered after %s", took)
			}
			up.end(t, 1)
			first.want(t, 200)
			o.counts("late", 0, 0)
			if n := up.Total.Load(); n != before {
				t.Errorf("%d calls were run", n-before)
			}
		})
	}
}

// Backends notice that a call is cancelled: they are cancelled at once, at a timeout, for
// an operator, and when the client leaves, and no permit is held for them.
func TestCallsAreCancelledAtOnce(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name calls
		concurrency 1
		queue 0
		first_byte_timeout 500ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	for _, version := range []string{"h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			c := s.Clients()[version]
			url := "https://" + s.Addr + "/closed"
			if res, _ := call(t, c, url, ""); res.Header.Get("Grpc-Status") != "4" {
				t.Errorf("timeout: got %v", res.Header)
			}
			<-up.gone
			o.counts("calls", 0, 0)

			a := askFor(c, callRequest(t, url, ""))
			o.post("requests/{id}/cancel", o.only("calls", "running"), "")
			a.want(t, 200)
			if status := a.res.Header.Get("Grpc-Status"); status == "" || status == "0" {
				t.Errorf("operator: got %v", fmt.Sprint(a.res.Header))
			}
			o.counts("calls", 0, 0)
		})
	}
}
