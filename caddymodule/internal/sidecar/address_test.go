package sidecar_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/sidecar"
)

// The one listener that a Caddyfile makes, and whether its routes select hosts.
func listenersOf(t *testing.T, text string) (listen string, hosts bool) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var c caddy.Config
	var app caddyhttp.App
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(c.AppsRaw["http"], &app); err != nil {
		t.Fatal(err)
	}
	if len(app.Servers) != 1 || len(app.Servers["srv0"].Listen) != 1 {
		t.Fatalf("not one listener: %s", config)
	}
	return app.Servers["srv0"].Listen[0], strings.Contains(string(c.AppsRaw["http"]), `"host"`)
}

func TestSidecarListensWhereFromSays(t *testing.T) {
	for from, want := range map[string]struct{ url, listen string }{
		"":                             {"http://127.0.0.1:8080", "127.0.0.1:8080"},
		"8080":                         {"http://:8080", ":8080"},
		":8080":                        {"http://:8080", ":8080"},
		"80":                           {"http://:80", ":80"},
		"443":                          {"http://:443", ":443"},
		"http://:8080":                 {"http://:8080", ":8080"},
		"HTTP://:8080/":                {"http://:8080", ":8080"},
		"127.0.0.1:8080":               {"http://127.0.0.1:8080", "127.0.0.1:8080"},
		"http://127.0.0.1:8080":        {"http://127.0.0.1:8080", "127.0.0.1:8080"},
		"http://127.0.0.1":             {"http://127.0.0.1:80", "127.0.0.1:80"},
		"127.0.0.1:443":                {"http://127.0.0.1:443", "127.0.0.1:443"},
		"0.0.0.0:8080":                 {"http://0.0.0.0:8080", "0.0.0.0:8080"},
		"[::]:8080":                    {"http://[::]:8080", "[::]:8080"},
		"[::1]:8080":                   {"http://[::1]:8080", "[::1]:8080"},
		"http://[::1]":                 {"http://[::1]:80", "[::1]:80"},
		"[fe80::1%eth0]:8080":          {"http://[fe80::1%eth0]:8080", "[fe80::1%eth0]:8080"},
		"localhost:8080":               {"http://localhost:8080", "localhost:8080"},
		"my-host.example.com:8080":     {"http://my-host.example.com:8080", "my-host.example.com:8080"},
		"https://localhost:8443":       {"https://localhost:8443", "localhost:8443"},
		"https://localhost":            {"https://localhost:443", "localhost:443"},
		"https://localhost:80":         {"https://localhost:80", "localhost:80"},
		"https://127.0.0.1:8443":       {"https://127.0.0.1:8443", "127.0.0.1:8443"},
		"https://[::1]:8443":           {"https://[::1]:8443", "[::1]:8443"},
		"unix//run/offload.sock":       {"unix//run/offload.sock", "unix//run/offload.sock"},
		"unix//run/a b\\c.sock|0660":   {"unix//run/a b\\c.sock|0660", "unix//run/a b\\c.sock|0660"},
		"unix/relative/to/here/a.sock": {"unix/relative/to/here/a.sock", "unix/relative/to/here/a.sock"},
	} {
		t.Run(from, func(t *testing.T) {
			args := []string{"--to", "127.0.0.1:8000"}
			if from != "" {
				args = append(args, "--from", from)
			}
			text, address, err := sidecar.Caddyfile(args...)
			if err != nil {
				t.Fatal(err)
			}
			if address != want.url {
				t.Errorf("got %s, want %s", address, want.url)
			}
			listen, hosts := listenersOf(t, text)
			if listen != want.listen || hosts {
				t.Errorf("it listens on %s (selecting hosts: %v), want %s and all hosts\n%s", listen, hosts, want.listen, text)
			}
		})
	}
}

func TestSidecarRefusesNonsenseToListenOn(t *testing.T) {
	for from, want := range map[string]string{
		"localhost":             "a port is missing, as in localhost:8080",
		"127.0.0.1":             "a port is missing, as in 127.0.0.1:8080",
		"[::1]":                 "a port is missing, as in [::1]:8080",
		"::1":                   "an IPv6 address needs brackets, as in [::1]:8080",
		"fe80::1:zz:8080":       "an address is [host]:port",
		"[::1:8080":             "an address is [host]:port",
		"0":                     "a port is a number from 1 to 65535",
		":0":                    "a port is a number from 1 to 65535",
		":":                     "a port is a number from 1 to 65535",
		"localhost:":            "a port is a number from 1 to 65535",
		"65536":                 "a port is a number from 1 to 65535",
		":65536":                "a port is a number from 1 to 65535",
		":http":                 "a port is a number from 1 to 65535",
		":-1":                   "a port is a number from 1 to 65535",
		":8080-8090":            "a port is a number from 1 to 65535",
		":8080,:8081":           "an address is [host]:port",
		"http://":               "an address is missing",
		"https://:8443":         "https:// needs a host",
		"https://8443":          "https:// needs a host",
		"https://0.0.0.0:8443":  "https:// needs a host",
		"https://[::]:8443":     "https:// needs a host",
		"ftp://localhost:21":    "begins with http:// or https://, not ftp://",
		"localhost:8080/app":    "an address to listen on has no path",
		"http://localhost:80/a": "an address to listen on has no path",
		"*:8080":                `"*" is neither a name nor an address`,
		"*.example.com:8080":    `"*.example.com" is neither a name nor an address`,
		"user@localhost:8080":   `"user@localhost" is neither a name nor an address`,
		"256.0.0.1:8080":        `"256.0.0.1" is neither a name nor an address`,
		"8080:8000":             `"8080" is neither a name nor an address`,
		"[localhost]:8080":      `"localhost" is neither a name nor an address`,
		"[127.0.0.1]:8080":      `"127.0.0.1" is neither a name nor an address`,
		"a b:8080":              `"a b" is neither a name nor an address`,
		"{$HOST}:8080":          `"{$HOST}" is neither a name nor an address`,
		" :8080":                `" " is neither a name nor an address`,
		"unix/":                 "a socket is unix/ and a path",
		"unix/|0660":            "a socket is unix/ and a path",
	} {
		t.Run(from, func(t *testing.T) {
			_, err := sidecarOf(t, "--to", "127.0.0.1:8000", "--from", from)
			if err == nil || !strings.Contains(err.Error(), "--from ") || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	if _, err := sidecarOf(t, "--to", "127.0.0.1:8000", "--from", ""); err == nil {
		t.Error("an empty address is taken")
	}
}
