package kit

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Pool has the numbers of requests in a pool, as the admin endpoint reports them.
type Pool struct{ Waiting, Running, Abandoned int }

// Until waits until a pool has these numbers of requests. addr is the address of the admin
// endpoint.
func Until(t *testing.T, addr, name string, want Pool) {
	t.Helper()
	var got Pool
	if !testkit.Poll(patience, func() bool {
		got = poolOf(t, addr, name)
		return got == want
	}) {
		t.Fatalf("the pool has %+v, want %+v", got, want)
	}
}

func poolOf(t *testing.T, addr, name string) (p Pool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/offload/pools/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no goroutine is left
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}
