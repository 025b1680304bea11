package caddymodule_test

import (
	"strings"
	"testing"
)

// A pool that the Caddyfile does not name has a readable name, and keeps it with its
// overrides over a reload of other lines.
func TestPoolsWithoutANameAreReadable(t *testing.T) {
	const config = `
	handle_path /api/* {
		offload /report/*
		offload
		respond "%s"
	}
	handle_path /web/* {
		offload
		respond "web"
	}`
	s, o := serveOperated(t, nil, strings.Replace(config, "%s", "one", 1))
	var names []string
	for _, p := range o.get("pools", "")["pools"].([]any) {
		name, site, _ := strings.Cut(p.(object)["name"].(string), " on ")
		if site == "" {
			t.Errorf("no site in %v", p.(object)["name"])
		}
		names = append(names, name)
		o.offload("set", p.(object)["name"].(string), "concurrency=3")
	}
	if got := strings.Join(names, ", "); got != "/api/*, /report/* in /api/*, /web/*" {
		t.Errorf("got %s", got)
	}
	s.Load(strings.Replace(config, "%s", "two", 1))
	for _, p := range o.get("pools", "")["pools"].([]any) {
		if got := p.(object)["overridden"].(object)["concurrency"]; got != "8" {
			t.Errorf("%v has lost its override: %v", p.(object)["name"], p.(object)["overridden"])
		}
	}
}
