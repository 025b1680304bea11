package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// status requests the numbers of all pools, and the requests of some.
func (o *operator) status(pools ...string) (status struct {
	Pools []struct {
		Pool  struct{ Name string }
		Waits struct{ Zero uint64 }
		Runs  struct{ Count []uint64 }
	}
	Explanations []object
	Requests     map[string]map[string]any
},
) {
	o.t.Helper()
	res, text := o.raw(http.MethodGet, "/offload/status?"+url.Values{"pool": pools}.Encode(), "")
	if res.StatusCode != http.StatusOK {
		o.t.Fatalf("got %d %s", res.StatusCode, text)
	}
	o.check(http.MethodGet, "/offload/status", res, text)
	if err := json.Unmarshal(text, &status); err != nil {
		o.t.Fatal(err)
	}
	return status
}

// One answer has what a live view needs, in the documented form.
func TestAdminShowsTheStatusOfAllPools(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	route /a/* {
		offload {
			name a
			concurrency 1
			queue 1
		}
		reverse_proxy UPSTREAM
	}
	offload /b/* {
		name b
	}
	respond /b/* "ok"`)
	c := s.Clients()["h2"]
	site.Get(t, c, "https://"+s.Addr+"/b/")
	holdOne(t, s, c, "/a/hold")
	ask(t, c, "https://"+s.Addr+"/a/1")
	o.untilWaiting("a", 1)
	site.Get(t, c, "https://"+s.Addr+"/a/2")
	all := o.status()
	if len(all.Pools) != 2 || all.Pools[0].Pool.Name != "a" || len(all.Requests) != 0 || len(all.Explanations) == 0 {
		t.Errorf("got %+v", all)
	}
	if b := all.Pools[1]; b.Waits.Zero+uint64(len(b.Runs.Count)) == 0 {
		t.Errorf("no times of a served request: %+v", b)
	}
	named := o.status("a", "none")
	if len(named.Requests) != 1 || named.Requests["a"]["waiting_total"] != 1.0 || named.Requests["a"]["running_total"] != 1.0 {
		t.Errorf("got %+v", named.Requests)
	}
}
