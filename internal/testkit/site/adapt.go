package site

import (
	"encoding/json"
	"net"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// adapt converts a Caddyfile to JSON and makes each site listen in the clear as
// well. In a Caddyfile this would need the site's block twice, and a pool must
// not be defined twice.
func adapt(t testing.TB, text string, sites ...*Site) []byte {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var config struct {
		Admin   json.RawMessage `json:"admin,omitempty"`
		Logging json.RawMessage `json:"logging,omitempty"`
		Apps    map[string]json.RawMessage
	}
	var http map[string]json.RawMessage
	var servers map[string]map[string]any
	decode(t, adapted, &config)
	decode(t, config.Apps["http"], &http)
	decode(t, http["servers"], &servers)
	for _, s := range sites {
		servers[s.Clear] = s.clear(t, servers)
	}
	http["servers"] = encode(t, servers)
	config.Apps["http"] = encode(t, http)
	return encode(t, map[string]any{"admin": config.Admin, "logging": config.Logging, "apps": config.Apps})
}

// clear returns a copy of the site's server without TLS.
func (s *Site) clear(t testing.TB, servers map[string]map[string]any) map[string]any {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	for _, server := range servers {
		if listen, ok := server["listen"].([]any); !ok || !slices.Contains(listen, any(":"+port)) {
			continue
		}
		var twin map[string]any
		decode(t, encode(t, server), &twin)
		twin["listen"] = []string{s.Clear}
		twin["automatic_https"] = map[string]bool{"disable": true}
		delete(twin, "tls_connection_policies")
		return twin
	}
	t.Fatalf("no server listens on %s", port)
	return nil
}

func decode(t testing.TB, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
