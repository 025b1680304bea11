package sidecar

import (
	"errors"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// caddyfile returns the Caddyfile for the flags.
func (s *sidecar) caddyfile() ([]byte, error) {
	if s.value("breaker") != "" && anySet(s.options, inBreaker) {
		return nil, errors.New("--breaker off goes with no other flag of the breaker")
	}
	from, err := parseFrom(s.from)
	if err != nil {
		return nil, err
	}
	backend, err := s.applyBackend()
	if err != nil {
		return nil, err
	}
	if s.jobs == "" && anySet(s.options, inJobs, inJobStore) {
		return nil, errors.New("the flags --jobs-... need --jobs, the path of the jobs, such as --jobs '/jobs/*'")
	}
	options, err := s.globalOptions(from)
	if err != nil {
		return nil, err
	}
	site, err := s.site(from, backend)
	if err != nil {
		return nil, err
	}
	text := append(block("", options), "")
	text = append(text, block(from.site(), site)...)
	return []byte(strings.Join(text, "\n") + "\n"), nil
}

// globalOptions returns the lines of the global options.
func (s *sidecar) globalOptions(from listenAddress) ([]string, error) {
	var lines []string
	if s.admin != adminAuto {
		admin, err := quote(s.admin)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "admin "+admin)
	}
	lines = append(lines, "persist_config off")
	for _, o := range []struct{ name, value string }{{"shutdown_delay", s.delay}, {"grace_period", s.grace}} {
		if o.value == "" || o.value == "off" {
			continue
		}
		value, err := quote(o.value)
		if err != nil {
			return nil, err
		}
		lines = append(lines, o.name+" "+value)
	}
	lines = append(lines, from.globalOptions()...)
	spool, err := s.lines(inSpool)
	if err != nil {
		return nil, err
	}
	global, err := s.lines(inGlobal)
	if err != nil {
		return nil, err
	}
	store, err := s.lines(inJobStore)
	if err != nil {
		return nil, err
	}
	global = slices.Concat(block("spool", spool), block("jobs", store), global)
	if s.showQuery {
		global = append(global, "show_query")
	}
	return append(lines, block("offload", global)...), nil
}

// site returns the lines in the block of the site.
func (s *sidecar) site(from listenAddress, backend backends.Backend) ([]string, error) {
	lines, err := from.lines()
	if err != nil {
		return nil, err
	}
	if s.log {
		lines = append(lines, "log")
	}
	if s.ready != "" {
		ready, err := quoteAll(append([]string{s.ready}, s.to...))
		if err != nil {
			return nil, err
		}
		lines = append(lines, "offload_ready "+ready)
	}
	if s.jobs != "" {
		path, err := quote(s.jobs)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "offload_jobs "+path)
	}
	head := "offload"
	matcher, err := s.matcher(backend)
	if err != nil {
		return nil, err
	}
	if len(matcher) > 0 {
		lines = append(lines, matcher...)
		head += " @blocking"
	}
	proxy, err := s.proxy(backend)
	if err != nil {
		return nil, err
	}
	directive, err := s.directive(proxy)
	if err != nil {
		return nil, err
	}
	lines = append(lines, block(head, directive)...)
	return append(lines, proxy...), nil
}

// directive returns the lines in the block of the directive. Proxy is what runs requests.
func (s *sidecar) directive(proxy []string) ([]string, error) {
	lines, err := s.lines(inDirective)
	if err != nil {
		return nil, err
	}
	if s.value("name") == "" {
		lines = append([]string{"name sidecar"}, lines...)
	}
	breaker, err := s.lines(inBreaker)
	if err != nil {
		return nil, err
	}
	lines = append(lines, block("breaker", breaker)...)
	if s.serverTiming {
		lines = append(lines, "server_timing")
	}
	if s.requestID {
		lines = append(lines, "request_id")
	}
	if s.handleReject != "" {
		lines = append(lines, block("handle_reject", []string{s.handleReject})...)
	}
	if s.jobs == "" {
		return lines, nil
	}
	jobs, err := s.lines(inJobs)
	return append(lines, block("jobs", append(jobs, block("handle", proxy)...))...), err
}

// ofWords lists the options of a route whose values consist of several words.
var ofWords = []string{"request_spool", "response_spool", "unspooled", "cost"}

// many reports whether the value of an option may consist of several words.
func (o *option) many() bool {
	if o.of == inBreaker {
		return settings.Breaker.Many(o.name)
	}
	return slices.Contains(ofWords, o.name) || settings.Pool.Many(o.name)
}

// lines returns the options of a block that are set.
func (s *sidecar) lines(of string) ([]string, error) {
	var lines []string
	for _, o := range s.options {
		if o.of != of || o.value == "" {
			continue
		}
		values := []string{o.value}
		if o.many() {
			values = strings.Fields(o.value)
		}
		text, err := quoteAll(values)
		if err != nil {
			return nil, err
		}
		for _, why := range o.why {
			lines = append(lines, "# "+why)
		}
		lines = append(lines, o.name+" "+text)
	}
	return lines, nil
}

// anySet reports whether an option of one of the blocks is set.
func anySet(options []option, blocks ...string) bool {
	return slices.ContainsFunc(options, func(o option) bool { return o.value != "" && slices.Contains(blocks, o.of) })
}
