package caddymodule

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// settle gives the words without a flag the values that fit the backend. Without
// --backend there is none to fit.
func (s *sidecar) settle() (backends.Backend, error) {
	var b backends.Backend
	var err error
	if s.backend != "" {
		if b, err = backends.Find(s.backend); err != nil {
			return b, fmt.Errorf("--backend: %w", err)
		}
		s.presume("concurrency", strconv.Itoa(b.Concurrency), b.Name+": "+b.Reason, "or: "+b.More)
	}
	if b.Stops != "" {
		s.presume("on_abandon", "cancel", b.Name+": "+b.Stops)
	}
	switch {
	case b.FastCGI && s.root == "":
		return b, fmt.Errorf("--backend %s needs --root: the folder of the site, as PHP-FPM sees it too", b.Name)
	case b.FastCGI && s.keepalive != "":
		return b, fmt.Errorf("--keepalive goes not with --backend %s: its connections serve one request each", b.Name)
	case !b.FastCGI && s.root != "":
		return b, errors.New("--root goes with --backend php only")
	}
	return b, nil
}

// presume sets a word of the directive that no flag has set, and says why.
func (s *sidecar) presume(word, value string, why ...string) {
	for i := range s.words {
		if w := &s.words[i]; w.of == inDirective && w.word == word && w.value == "" {
			w.value, w.why = value, why
		}
	}
}

// matcher is what the requests that block have in common, nothing if all do. Behind
// PHP-FPM these are never files of another kind: Caddy serves them itself.
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

// proxy is what hands requests on to the service.
func (s *sidecar) proxy(b backends.Backend) ([]string, error) {
	to, err := quoteAll(s.to)
	if err != nil {
		return nil, err
	}
	if b.FastCGI {
		root, err := quote(s.root)
		return []string{"root * " + root, "php_fastcgi " + to, "file_server"}, err
	}
	keepalive, why := s.keepalive, ""
	if keepalive == "" && b.KeepaliveOff != "" {
		keepalive, why = "off", b.Name+": "+b.KeepaliveOff
	}
	if keepalive == "" {
		return []string{"reverse_proxy " + to}, nil
	}
	word, err := quote(keepalive)
	if err != nil {
		return nil, err
	}
	lines := []string{"keepalive " + word}
	if why != "" {
		lines = append([]string{"# " + why}, lines...)
	}
	return block("reverse_proxy "+to, block("transport http", lines)), nil
}
