package target

import (
	"fmt"
	"strings"
	"time"
)

// healthEvery is the time between two health checks of a server. One good or bad answer
// decides.
const healthEvery = 250 * time.Millisecond

// failEvery is for how long a server gets no requests that could not be reached: until a
// health check has noticed.
const failEvery = 2 * healthEvery

// retries is how often a request is sent again that could not be sent, in all targets but
// those of offload: there it goes back to the queue.
const retries = 3

// writeServers writes the site of a Caddy target in front of several upstreams.
func writeServers(b *strings.Builder, name Name, plan Plan) {
	policy := "least_conn"
	queues := name == Offload || name == OffloadBefore
	if queues {
		writePool(b, plan)
		policy = "offload"
	}
	b.WriteString("\treverse_proxy")
	for _, s := range plan.Servers {
		fmt.Fprintf(b, " %s", s.Addr)
	}
	b.WriteString(" {\n")
	if len(plan.Servers) > 1 {
		fmt.Fprintf(b, "\t\tlb_policy %s\n\t\tfail_duration %s\n", policy, failEvery)
	}
	if !queues {
		fmt.Fprintf(b, "\t\tlb_retries %d\n", retries)
	}
	if plan.Health != "" {
		fmt.Fprintf(b, "\t\thealth_uri %s\n\t\thealth_interval %s\n\t\thealth_timeout 1s\n", plan.Health, healthEvery)
	}
	b.WriteString("\t}\n}\n")
}

// writePool limits each of several upstreams, and a single one as always.
func writePool(b *strings.Builder, plan Plan) {
	b.WriteString("\toffload {\n")
	first := plan.Servers[0].Limit
	if len(plan.Servers) == 1 {
		fmt.Fprintf(b, "\t\tconcurrency %d\n", first)
	} else {
		fmt.Fprintf(b, "\t\tupstream_concurrency %d {\n", first)
		for _, s := range plan.Servers[1:] {
			fmt.Fprintf(b, "\t\t\t%s %d\n", s.Addr, s.Limit)
		}
		b.WriteString("\t\t}\n")
	}
	fmt.Fprintf(b, "\t\tqueue %d\n\t\tmax_wait %s\n", plan.Queue, plan.MaxWait)
	if plan.Hold > 0 {
		fmt.Fprintf(b, "\t\tbreaker {\n\t\t\thold %s\n\t\t}\n\t}\n", plan.Hold)
		return
	}
	b.WriteString("\t\tbreaker off\n\t}\n")
}

// writeHAProxyServers writes one backend, so that all servers share its queue. With several
// servers a request whose connection was closed without an answer is sent again, as Caddy
// does, but no POST.
func writeHAProxyServers(b *strings.Builder, plan Plan, addr string) {
	fmt.Fprintf(b, "\toption redispatch\n\tretries %d\n\ttimeout queue %dms\n", retries, plan.MaxWait.Milliseconds())
	fmt.Fprintf(b, "\nfrontend front\n\tbind %s\n\tdefault_backend servers\n\nbackend servers\n", addr)
	if len(plan.Servers) > 1 {
		b.WriteString("\tbalance leastconn\n\tretry-on conn-failure empty-response\n\thttp-request disable-l7-retry if METH_POST\n")
	}
	check := ""
	if plan.Health != "" {
		fmt.Fprintf(b, "\toption httpchk GET %s\n\ttimeout check 1s\n", plan.Health)
		check = fmt.Sprintf(" check inter %dms fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down", healthEvery.Milliseconds())
	}
	for i, s := range plan.Servers {
		fmt.Fprintf(b, "\tserver s%d %s maxconn %d%s\n", i, s.Addr, s.Limit, check)
	}
}
