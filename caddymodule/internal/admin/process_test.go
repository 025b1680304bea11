package admin

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// The endpoint shows the process that it was registered with, also from the instances that
// Caddy makes of it.
func TestEndpointShowsItsProcess(t *testing.T) {
	p := state.NewProcess()
	if _, err := p.Pools.Open("one", offloader.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Pools.Named.Delete("one"); err != nil {
			t.Error(err)
		}
	})
	made := AdminAPI{Process: p}.CaddyModule().New().(*AdminAPI)
	if got := poolsAt(t, *made); len(got) != 1 || got[0] != "one" {
		t.Errorf("pools %v are shown", got)
	}
	if got := poolsAt(t, AdminAPI{Process: state.NewProcess()}); len(got) != 0 {
		t.Errorf("pools %v of another process are shown", got)
	}
}

func poolsAt(t *testing.T, api AdminAPI) (names []string) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := api.serve(w, httptest.NewRequest("GET", "/offload/pools", nil)); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Pools []struct {
			Name string `json:"name"`
		} `json:"pools"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	for _, pool := range answer.Pools {
		names = append(names, pool.Name)
	}
	return names
}
