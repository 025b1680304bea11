package target

import (
	"fmt"
	"strings"
)

// caddyHead is the same for all Caddy targets. It disables all parts that could
// add work: admin API, access log, saved configuration.
const caddyHead = `{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
	}
}

`

func caddyRecipe(name Name, plan Plan, k kit) recipe {
	r := recipe{
		files:   map[string]string{"Caddyfile": caddyText(name, plan, k)},
		command: []string{k.programs.caddy(name), "run", "--adapter", "caddyfile", "--config", k.file("Caddyfile")},
		env:     []string{"HOME=" + k.dir, "XDG_DATA_HOME=" + k.file("data"), "XDG_CONFIG_HOME=" + k.file("config")},
	}
	if plan.Core >= 0 {
		r.env = append(r.env, "GOMAXPROCS=1")
	}
	return r
}

// caddy returns the program of a Caddy target.
func (p Programs) caddy(name Name) string {
	switch name {
	case OffloadBefore:
		return p.Before
	case CaddyBlock:
		return p.Blocking
	case CaddyPlain:
		return p.Plain
	case OffloadNoCelery:
		return p.NoCelery
	default:
		return p.Caddy
	}
}

func caddyText(name Name, plan Plan, k kit) string {
	var b strings.Builder
	b.WriteString(caddyHead)
	fmt.Fprintf(&b, "http://%s {\n", k.addr)
	if name.Pair() == CaddyUsual {
		fmt.Fprintf(&b, "\tlog {\n\t\toutput file %s\n\t}\n\tencode\n", k.file("access.log"))
	}
	if len(plan.Servers) > 0 {
		writeServers(&b, name, plan)
		return b.String()
	}
	switch name {
	case CaddyMaxConns:
		writeMaxConns(&b, plan, "")
	case CaddyBuffers:
		writeMaxConns(&b, plan, "\t\trequest_buffers 4MiB\n\t\tresponse_buffers 4MiB\n")
	case CaddyBlock:
		fmt.Fprintf(&b, "\tbench_block %s/*\n", SlowPath)
	case Offload, OffloadUnmarked, OffloadBefore, OffloadUsual, OffloadNoCelery:
		writeOffload(&b, plan, "")
	case OffloadNoSpool:
		writeOffload(&b, plan, "\t\trequest_spool off\n\t\tresponse_spool off\n")
	}
	if plan.Slow != plan.Fast && name != CaddyMaxConns && name != CaddyBuffers {
		fmt.Fprintf(&b, "\treverse_proxy %s/* %s\n", SlowPath, plan.Slow)
	}
	fmt.Fprintf(&b, "\treverse_proxy %s\n}\n", plan.Fast)
	return b.String()
}

// writeMaxConns limits the slow route as plain Caddy can: by the connections of
// a separate transport. Its queue has neither a limit nor a longest wait.
func writeMaxConns(b *strings.Builder, plan Plan, buffers string) {
	fmt.Fprintf(b, "\treverse_proxy %s/* %s {\n%s", SlowPath, plan.Slow, buffers)
	if plan.Limit > 0 {
		fmt.Fprintf(b, "\t\ttransport http {\n\t\t\tmax_conns_per_host %d\n\t\t}\n", plan.Limit)
	}
	b.WriteString("\t}\n")
}

func writeOffload(b *strings.Builder, plan Plan, spools string) {
	fmt.Fprintf(b, "\toffload %s/* {\n", SlowPath)
	if plan.Limit > 0 {
		fmt.Fprintf(b, "\t\tconcurrency %d\n\t\tqueue %d\n\t\tmax_wait %s\n", plan.Limit, plan.Queue, plan.MaxWait)
	}
	fmt.Fprintf(b, "\t\tbreaker off\n%s\t}\n", spools)
}
