package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// applyBackend sets the options that depend on --backend and that no flag has set.
func (s *sidecar) applyBackend() (backends.Backend, error) {
	var b backends.Backend
	var err error
	if s.backend != "" {
		if b, err = backends.Find(s.backend); err != nil {
			return b, fmt.Errorf("--backend: %w", err)
		}
		if !s.balances() { // else the number of each upstream counts
			s.setDefault("concurrency", strconv.Itoa(b.Concurrency), b.Name+": "+b.Reason, "or: "+b.More)
		}
	}
	if b.Stops != "" {
		s.setDefault("on_abandon", "cancel", b.Name+": "+b.Stops)
	}
	switch {
	case b.FastCGI && s.root == "":
		return b, fmt.Errorf("--backend %s needs --root: the folder of the site, as PHP-FPM sees it too", b.Name)
	case b.FastCGI && s.keepalive != "":
		return b, fmt.Errorf("--keepalive does not go with --backend %s: its connections serve one request each", b.Name)
	case !b.FastCGI && s.root != "":
		return b, errors.New("--root goes with --backend php only")
	}
	return b, nil
}

// setDefault sets an option of the directive that no flag has set. why is shown to the
// operator.
func (s *sidecar) setDefault(name, value string, why ...string) {
	for i := range s.options {
		if o := &s.options[i]; o.of == inDirective && o.name == name && o.value == "" {
			o.value, o.why = value, why
		}
	}
}

// matcher returns the lines that define the matcher of blocking requests, none if all
// requests block. Files that PHP-FPM does not run never match: Caddy serves them itself.
func (s *sidecar) matcher(b backends.Backend) ([]string, error) {
	paths, err := quoteAll(s.match)
	if err != nil {
		return nil, err
	}
	switch {
	case !b.FastCGI && paths == "":
		return nil, nil
	case !b.FastCGI:
		return []string{"@blocking path " + paths}, nil
	}
	lines := block("not", []string{"file", "not path *.php"})
	if paths != "" {
		lines = append([]string{"path " + paths}, lines...)
	}
	return block("@blocking", lines), nil
}

// balances reports whether each address of the service has a number of permits.
func (s *sidecar) balances() bool {
	value := s.value("upstream_concurrency")
	return value != "" && value != "off"
}

// proxy returns the lines that pass requests on to the service.
func (s *sidecar) proxy(b backends.Backend) ([]string, error) {
	to, err := quoteAll(s.to)
	if err != nil {
		return nil, err
	}
	var options []string
	if s.balances() {
		options = []string{"lb_policy offload"}
	}
	if b.FastCGI {
		root, err := quote(s.root)
		return slices.Concat([]string{"root * " + root}, blockOf("php_fastcgi "+to, options), []string{"file_server"}), err
	}
	keepalive, why := s.keepalive, ""
	if keepalive == "" && b.KeepaliveOff != "" {
		keepalive, why = "off", b.Name+": "+b.KeepaliveOff
	}
	if keepalive == "" {
		return blockOf("reverse_proxy "+to, options), nil
	}
	value, err := quote(keepalive)
	if err != nil {
		return nil, err
	}
	lines := []string{"keepalive " + value}
	if why != "" {
		lines = append([]string{"# " + why}, lines...)
	}
	return block("reverse_proxy "+to, slices.Concat(options, block("transport http", lines))), nil
}

// blockOf returns a directive with a block, if it has options.
func blockOf(head string, options []string) []string {
	if len(options) == 0 {
		return []string{head}
	}
	return block(head, options)
}
