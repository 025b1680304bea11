package target

import (
	"fmt"
	"strings"
)

func haproxyRecipe(name Name, plan Plan, k kit) recipe {
	return recipe{
		files:   map[string]string{"haproxy.cfg": haproxyConfig(name, plan, k.addr)},
		command: []string{k.programs.HAProxy, "-db", "-f", k.file("haproxy.cfg")},
	}
}

// haproxyConfig limits the queue with a rule, because HAProxy has no option
// for that. Without http-no-delay it delays small pieces of an answer.
func haproxyConfig(name Name, plan Plan, addr string) string {
	var b strings.Builder
	b.WriteString("global\n")
	if plan.Core >= 0 {
		b.WriteString("\tnbthread 1\n")
	}
	if name == HAProxyBig {
		// HAProxy does not start if it could not allocate all its buffers.
		b.WriteString("\tmaxconn 400\n\ttune.bufsize 1310720\n")
	} else {
		b.WriteString("\tmaxconn 9800\n")
	}
	b.WriteString(`
defaults
	mode http
	option http-no-delay
	timeout connect 5s
	timeout client 10m
	timeout server 10m
`)
	if len(plan.Servers) > 0 {
		writeHAProxyServers(&b, plan, addr)
		return b.String()
	}
	b.WriteString("\tretries 0\n")
	if plan.Uploads {
		b.WriteString("\toption http-buffer-request\n\ttimeout http-request 1m\n")
	}
	fmt.Fprintf(&b, "\nfrontend front\n\tbind %s\n\tacl slow path_beg %s/\n", addr, SlowPath)
	if plan.Limit > 0 {
		fmt.Fprintf(&b, "\thttp-request deny deny_status 503 if slow { queue(slow) ge %d }\n", plan.Queue)
	}
	b.WriteString("\tuse_backend slow if slow\n\tdefault_backend fast\n\nbackend slow\n")
	if plan.Limit > 0 {
		fmt.Fprintf(&b, "\ttimeout queue %dms\n\tserver slow %s maxconn %d\n", plan.MaxWait.Milliseconds(), plan.Slow, plan.Limit)
	} else {
		fmt.Fprintf(&b, "\tserver slow %s\n", plan.Slow)
	}
	fmt.Fprintf(&b, "\nbackend fast\n\tserver fast %s\n", plan.Fast)
	return b.String()
}
