package sidecar_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/sidecar"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
)

// sidecarOf reads flags and returns the Caddyfile that they stand for.
func sidecarOf(t *testing.T, args ...string) (string, error) {
	t.Helper()
	text, _, err := sidecar.Caddyfile(args...)
	return text, err
}

func TestSidecarWritesACaddyfile(t *testing.T) {
	for name, test := range map[string]struct{ args, want string }{
		"nothing but the service": {
			"--to 127.0.0.1:8000",
			"{\n\tpersist_config off\n\tgrace_period 30s\n}\n\nhttp://:8080 {\n\tbind 127.0.0.1\n\toffload {\n\t\tname sidecar\n\t}\n\treverse_proxy 127.0.0.1:8000\n}\n",
		},
		"jobs": {
			`--to|8000|--match|/report/*|--jobs|/jobs/*|--jobs-accept|always|--jobs-wait|5s|--jobs-keep|1h|--jobs-attempts|2|--jobs-max-body|1MiB|--jobs-max-result|2MiB|--jobs-store|/var/jobs`,
			`{
	persist_config off
	grace_period 30s
	offload {
		jobs {
			store /var/jobs
		}
	}
}

http://:8080 {
	bind 127.0.0.1
	offload_jobs /jobs/*
	@blocking path /report/*
	offload @blocking {
		name sidecar
		jobs {
			accept always
			wait 5s
			keep 1h
			attempts 2
			max_body 1MiB
			max_result 2MiB
			handle {
				reverse_proxy 127.0.0.1:8000
			}
		}
	}
	reverse_proxy 127.0.0.1:8000
}
`,
		},
		"everything": {
			`--from|:80|--to|127.0.0.1:8000,127.0.0.1:8001|--match|/a/*,/b/*|--admin|off|--ready|/ready|--grace|1m|--shutdown-delay|5s|--access-log|--name|my pool|--concurrency|4|--upstream-concurrency|3|` +
				`--queue|5|--max-wait|6s|--order|fifo|--linger|1s|--breaker-failure-ratio|0.4|--breaker-min-requests|10|` +
				`--breaker-consecutive-failures|3|--breaker-slow-ratio|0.5 2s|--breaker-statuses|5xx 429|--breaker-hold|6s|--breaker-window|9m|--breaker-cool-down|2s|--breaker-probes|2|--breaker-probe-timeout|3s|` +
				`--first-byte-timeout|2m|--run-timeout|3m|--on-abandon|cancel|--request-spool|1MiB 2GiB|--response-spool|off|` +
				`--unspooled|grpc connect|--stall-timeout|1s|--upgrades|hold|--reject-status|429|--timeout-status|500|--proxy-status-name|edge|--spool-dir|/tmp/a b|--spool-memory|1MiB|` +
				`--spool-disk|2MiB|--spool-uploads|3|--spool-min-rate|off|--explain|5|--show-query|--server-timing|--handle-reject|respond "busy" 503`,
			`{
	admin off
	persist_config off
	shutdown_delay 5s
	grace_period 1m
	offload {
		spool {
			dir ` + "`/tmp/a b`" + `
			memory 1MiB
			disk 2MiB
			uploads 3
			min_rate off
		}
		explain 5
		show_query
	}
}

http://:80 {
	log
	offload_ready /ready 127.0.0.1:8000 127.0.0.1:8001
	@blocking path /a/* /b/*
	offload @blocking {
		name ` + "`my pool`" + `
		concurrency 4
		upstream_concurrency 3
		queue 5
		max_wait 6s
		order fifo
		linger 1s
		first_byte_timeout 2m
		run_timeout 3m
		on_abandon cancel
		request_spool 1MiB 2GiB
		response_spool off
		unspooled grpc connect
		stall_timeout 1s
		upgrades hold
		reject_status 429
		timeout_status 500
		proxy_status_name edge
		breaker {
			failure_ratio 0.4
			min_requests 10
			consecutive_failures 3
			slow_ratio 0.5 2s
			statuses 5xx 429
			window 9m
			hold 6s
			cool_down 2s
			probes 2
			probe_timeout 3s
		}
		server_timing
		handle_reject {
			respond "busy" 503
		}
	}
	reverse_proxy 127.0.0.1:8000 127.0.0.1:8001 {
		lb_policy offload
	}
}
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			separator := " "
			if strings.Contains(test.args, "|") {
				separator = "|"
			}
			got, err := sidecarOf(t, strings.Split(test.args, separator)...)
			if err != nil || got != test.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, test.want)
			}
			if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(got), nil); err != nil {
				t.Errorf("it cannot be adapted: %v", err)
			}
		})
	}
}

func TestSidecarRefuses(t *testing.T) {
	for name, test := range map[string]struct{ args, want string }{
		"no service":             {"--queue 5", "--to is required"},
		"a misspelt flag":        {"--concurency 5", "unknown flag: --concurency; did you mean '--concurrency'?"},
		"jobs without a path":    {"--to a:1 --jobs-wait 5s", "the flags --jobs-... need --jobs"},
		"a breaker that is none": {"--to a:1 --breaker off --breaker-probes 2", "--breaker off goes with no other flag of the breaker"},
	} {
		if _, err := sidecarOf(t, strings.Fields(test.args)...); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}
