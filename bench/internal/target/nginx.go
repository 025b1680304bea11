package target

import (
	"fmt"
	"strings"
)

func nginxRecipe(name Name, plan Plan, k kit) recipe {
	return recipe{
		files:   map[string]string{"nginx.conf": nginxConfig(name, plan, k)},
		command: []string{k.programs.NGINX, "-p", k.dir, "-c", k.file("nginx.conf"), "-e", k.file("error.log")},
	}
}

// nginxConfig limits the slow route without a queue, since open source NGINX has
// none. max_conns counts connections to the upstream, limit_conn requests until
// their clients have the whole answer.
func nginxConfig(name Name, plan Plan, k kit) string {
	var b strings.Builder
	workers := 2
	if plan.Core >= 0 {
		workers = 1
	}
	fmt.Fprintf(&b, "user root;\ndaemon off;\nworker_processes %d;\npid %s;\n", workers, k.file("nginx.pid"))
	b.WriteString("events { worker_connections 19000; }\nhttp {\n\taccess_log off;\n\tkeepalive_requests 1000000;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "\t%s_temp_path %s;\n", kind, k.file(kind))
	}
	b.WriteString("\tclient_max_body_size 16m;\n\tlimit_conn_zone $server_name zone=slow:1m;\n\tlimit_conn_status 503;\n")
	maxConns := ""
	if plan.Limit > 0 && name == NGINXMaxConns {
		maxConns = fmt.Sprintf(" max_conns=%d", plan.Limit)
	}
	// With the zone all workers count together.
	fmt.Fprintf(&b, "\tupstream slow { zone slow_upstream 64k; server %s%s max_fails=0; keepalive 64; }\n", plan.Slow, maxConns)
	fmt.Fprintf(&b, "\tupstream fast { server %s max_fails=0; keepalive 64; }\n", plan.Fast)
	fmt.Fprintf(&b, "\tserver {\n\t\tlisten %s backlog=4096;\n\t\tserver_name bench;\n", k.addr)
	b.WriteString("\t\tproxy_http_version 1.1;\n\t\tproxy_set_header Connection \"\";\n\t\tproxy_read_timeout 10m;\n")
	limit := ""
	if plan.Limit > 0 && name == NGINX {
		limit = fmt.Sprintf(" limit_conn slow %d;", plan.Limit)
	}
	fmt.Fprintf(&b, "\t\tlocation %s/ {%s proxy_pass http://slow; }\n", SlowPath, limit)
	b.WriteString("\t\tlocation / { proxy_pass http://fast; }\n\t}\n}\n")
	return b.String()
}
