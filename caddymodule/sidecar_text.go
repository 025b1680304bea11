package caddymodule

import (
	"errors"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// caddyfile writes what the flags stand for.
func (s *sidecar) caddyfile() ([]byte, error) {
	if len(s.to) == 0 {
		return nil, errors.New("--to is required: the address of the service, such as 127.0.0.1:8000")
	}
	if s.value("breaker") != "" && s.hasBreaker() {
		return nil, errors.New("--breaker off goes with no other flag of the breaker")
	}
	from, err := parseFrom(s.from)
	if err != nil {
		return nil, err
	}
	backend, err := s.settle()
	if err != nil {
		return nil, err
	}
	options, err := s.options(from)
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

// options are the global options.
func (s *sidecar) options(from sidecarAddress) ([]string, error) {
	var lines []string
	if s.admin != adminAuto {
		admin, err := quote(s.admin)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "admin "+admin)
	}
	lines = append(lines, "persist_config off")
	lines = append(lines, from.options()...)
	spool, err := s.lines(inSpool)
	if err != nil {
		return nil, err
	}
	option, err := s.lines(inOption)
	if err != nil {
		return nil, err
	}
	option = append(block("spool", spool), option...)
	if s.showQuery {
		option = append(option, "show_query")
	}
	return append(lines, block("offload", option)...), nil
}

// site is what stands in the block of the site.
func (s *sidecar) site(from sidecarAddress, backend backends.Backend) ([]string, error) {
	lines, err := from.lines()
	if err != nil {
		return nil, err
	}
	if s.log {
		lines = append(lines, "log")
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
	directive, err := s.directive()
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxy(backend)
	if err != nil {
		return nil, err
	}
	lines = append(lines, block(head, directive)...)
	return append(lines, proxy...), nil
}

// directive is what stands in the block of the directive.
func (s *sidecar) directive() ([]string, error) {
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
	if s.handleReject != "" {
		lines = append(lines, block("handle_reject", []string{s.handleReject})...)
	}
	return lines, nil
}

// block puts a block around lines, or nothing around nothing.
func block(head string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	all := []string{strings.TrimLeft(head+" {", " ")}
	for _, line := range lines {
		all = append(all, "\t"+line)
	}
	return append(all, "}")
}

// lines are the words of a block that are set.
func (s *sidecar) lines(of string) ([]string, error) {
	var lines []string
	for _, w := range s.words {
		if w.of != of || w.value == "" {
			continue
		}
		values := []string{w.value}
		if w.word == "request_spool" || w.word == "response_spool" || w.word == "unspooled" {
			values = strings.Fields(w.value)
		}
		text, err := quoteAll(values)
		if err != nil {
			return nil, err
		}
		for _, why := range w.why {
			lines = append(lines, "# "+why)
		}
		lines = append(lines, w.word+" "+text)
	}
	return lines, nil
}

// hasBreaker reports whether a word of the breaker is set.
func (s *sidecar) hasBreaker() bool {
	for _, w := range s.words {
		if w.of == inBreaker && w.value != "" {
			return true
		}
	}
	return false
}

// value is what was given for a word of the directive.
func (s *sidecar) value(word string) string {
	for _, w := range s.words {
		if w.of == inDirective && w.word == word {
			return w.value
		}
	}
	return ""
}
