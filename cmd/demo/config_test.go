package main

import (
	"encoding/json"
	"reflect"
	"testing"
)

// same reports whether two JSON texts have the same meaning.
func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return reflect.DeepEqual(x, y)
}

func TestWithoutOffload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want string }{
		"nothing to remove": {
			`{"admin":{"listen":"x"},"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"static"}]}]}}}}}`,
			`{"admin":{"listen":"x"},"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"static"}]}]}}}}}`,
		},
		"the app": {
			`{"apps":{"offload":{"pools":{}},"http":{}}}`,
			`{"apps":{"http":{}}}`,
		},
		"deep in a subroute": {
			`{"routes":[{"handle":[{"handler":"subroute","routes":[
				{"match":[{"path":["/x"]}],"handle":[{"handler":"offload","pool":"p","handle_reject":[{"handle":[]}]}]},
				{"handle":[{"handler":"offload"},{"handler":"reverse_proxy"}]}]}]}]}`,
			`{"routes":[{"handle":[{"handler":"subroute","routes":[
				{"match":[{"path":["/x"]}],"handle":[]},
				{"handle":[{"handler":"reverse_proxy"}]}]}]}]}`,
		},
		"the word elsewhere": {
			`{"apps":{"http":{"servers":{"offload":{"listen":["offload"]}}}},"names":[{"name":"offload"}]}`,
			`{"apps":{"http":{"servers":{"offload":{"listen":["offload"]}}}},"names":[{"name":"offload"}]}`,
		},
	} {
		got, err := withoutOffload([]byte(c.config))
		if err != nil || !same(t, got, []byte(c.want)) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestBrokenConfigIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := withoutOffload([]byte(`[1]`)); err == nil {
		t.Error("a list was taken for a config")
	}
}

func TestDomesticated(t *testing.T) {
	t.Parallel()
	got, err := domesticated([]byte(`{"apps":{"http":{"servers":{"a":{"listen":[":80","10.0.0.1:81"]},"b":{}}}}}`))
	want := `{"logging":{"logs":{"default":{"level":"ERROR"}}},
		"apps":{"http":{"grace_period":2000000000,"servers":{"a":{"listen":["127.0.0.1:80","10.0.0.1:81"]},"b":{}}}}}`
	if err != nil || !same(t, got, []byte(want)) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestModesDifferByOffloadAlone(t *testing.T) {
	t.Parallel()
	config, err := adapt("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	without, with, err := modes(config)
	if err != nil {
		t.Fatal(err)
	}
	if same(t, without.config, with.config) {
		t.Error("the root Caddyfile offloads nothing")
	}
	stripped, err := withoutOffload(with.config)
	if err != nil || !same(t, without.config, stripped) {
		t.Errorf("the modes differ by more than offload, %v", err)
	}
}

func TestPermitsAreThoseOfTheCaddyfile(t *testing.T) {
	t.Parallel()
	config, err := adapt("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for name, permits := range map[string]int{"factorial": factorialPermits, "reports": slowPermits} {
		var tree any
		if err := json.Unmarshal(config, &tree); err != nil {
			t.Fatal(err)
		}
		if got := concurrencyOf(name, tree); got != permits {
			t.Errorf("pool %s: the Caddyfile has %d permits, the scene %d", name, got, permits)
		}
	}
}

// concurrencyOf finds a pool by the name inside it or by its key.
func concurrencyOf(name string, node any) int {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			pool, isObject := child.(map[string]any)
			if n, ok := pool["concurrency"].(float64); isObject && ok && key == name {
				return int(n)
			}
			if n := concurrencyOf(name, child); n > 0 {
				return n
			}
		}
		if n, ok := node["concurrency"].(float64); ok && node["name"] == name {
			return int(n)
		}
	case []any:
		for _, child := range node {
			if n := concurrencyOf(name, child); n > 0 {
				return n
			}
		}
	}
	return 0
}
