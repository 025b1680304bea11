package caddymodule_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// warnings adapts a Caddyfile and returns the warnings, with the name of the file cut short.
func warnings(t *testing.T, text string) (all []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": file})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			all = append(all, strings.ReplaceAll(w.Message, file, "Caddyfile"))
		}
	}
	return all
}

// Limits that contradict max_time are warnings at load, with the lines of both. Limits that
// may be right are not.
func TestWarningsOfTimes(t *testing.T) {
	const text = `{
	grace_period GRACE
	servers {
		timeouts {
			write WRITE
		}
	}
	offload {
		pool shared {
			max_wait POOL
		}
	}
}
:8080 {
	offload /x/* {
		name x
		max_wait WAIT
		run_timeout RUN
		first_byte_timeout FIRST
		max_time 30s
	}
	offload /y/* shared {
		first_byte_timeout 5s
		max_time 20s
	}
	reverse_proxy /x/* 127.0.0.1:9000 {
		transport http {
			response_header_timeout HEADER
			read_timeout READ
		}
	}
	reverse_proxy /z 127.0.0.1:9000 {
		transport http {
			response_header_timeout 5m
		}
	}
	handle /x/* {
		reverse_proxy 127.0.0.1:9000 {
			transport http {
				dial_timeout 1h
			}
		}
	}
}
`
	fits := map[string]string{
		"GRACE": "30s", "WRITE": "1m", "POOL": "20s", "WAIT": "30s", "RUN": "30s", "FIRST": "30s", "HEADER": "30s", "READ": "10s",
	}
	for name, tt := range map[string]struct {
		name, value string
		want        []string
	}{
		"all fit": {"", "", nil},
		"run_timeout": {"RUN", "31s", []string{
			"run_timeout 31s (Caddyfile:18) is above max_time 30s (Caddyfile:20) and would never be reached: lower it, or leave it out",
		}},
		"max_wait": {"WAIT", "1m", []string{
			"max_wait 1m0s (Caddyfile:17) is above max_time 30s (Caddyfile:20) and would never be reached: lower it, or leave it out",
		}},
		"max_wait of a shared pool": {"POOL", "1m", []string{
			"max_wait of pool 'shared', 1m0s (Caddyfile:10) is above max_time 20s (Caddyfile:24) and would never be reached: lower it, or leave it out",
		}},
		"the transport": {"HEADER", "40s", []string{
			"'response_header_timeout' of the transport, 40s (Caddyfile:28) is above max_time 30s (Caddyfile:20) and would never be reached: lower it, or leave it out",
		}},
		"a read of the transport": {"READ", "40s", []string{
			"'read_timeout' of the transport, 40s (Caddyfile:29) is above max_time 30s (Caddyfile:20) and would never be reached: lower it, or leave it out",
		}},
		"the server": {"WRITE", "25s", []string{
			"the timeout 'write' 25s of the server (Caddyfile:5) is below max_time 30s (Caddyfile:20): it closes the connection before the answer; raise 'write', or lower 'max_time'",
		}},
		"the exit": {"GRACE", "25s", []string{
			"grace_period 25s (Caddyfile:2) is below max_time 30s (Caddyfile:20): an exit cuts requests that have time left; raise 'grace_period', or lower 'max_time'",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			text := text
			for word, value := range fits {
				if word == tt.name {
					value = tt.value
				}
				text = strings.ReplaceAll(text, word, value)
			}
			if got := warnings(t, text); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
