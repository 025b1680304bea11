package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// server is the admin endpoint of a running server.
type server struct{ address, config, adapter string }

// get requests a path and decodes the answer into into unless that is nil.
func (s server) get(path string, into any) ([]byte, error) {
	return s.do(http.MethodGet, path, nil, into)
}

// do makes a request. It returns the answer as JSON, and decodes it into into unless that
// is nil.
func (s server) do(method, path string, body, into any) ([]byte, error) {
	text, _, err := s.request(method, path, body)
	if err != nil || into == nil {
		return text, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return text, nil
}

func (s server) request(method, path string, body any) (text []byte, status int, err error) {
	address, err := s.find()
	if err != nil {
		return nil, 0, err
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, 0, fmt.Errorf("writing the request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	res, err := caddycmd.AdminAPIRequest(address, method, "/offload/"+path, nil, content)
	if err != nil {
		return nil, 0, explainError(address, err)
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the server's answer: %w", err)
	}
	return text, res.StatusCode, nil
}

// find returns the address of the admin endpoint.
func (s server) find() (string, error) {
	var loaded []byte
	if s.address == "" && s.config != "" {
		var err error
		if loaded, _, _, err = caddycmd.LoadConfig(s.config, s.adapter); err != nil {
			return "", fmt.Errorf("reading %s: %w", s.config, err)
		}
		var config struct {
			Admin struct {
				Disabled bool `json:"disabled"`
			} `json:"admin"`
		}
		if json.Unmarshal(loaded, &config) == nil && config.Admin.Disabled {
			return "", fmt.Errorf("the admin endpoint is off in %s: commands need it", s.config)
		}
	}
	address, err := caddycmd.DetermineAdminAPIAddress(s.address, loaded, s.config, s.adapter)
	if err != nil {
		return "", fmt.Errorf("finding the admin endpoint: %w", err)
	}
	return address, nil
}

// serverError is an error in an answer of the server.
type serverError struct{ text string }

func (e *serverError) Error() string { return e.text }

// explainError returns an error that operators understand. Caddy puts the server's answer
// into the text of its error.
func explainError(address string, err error) error {
	_, answer, answered := strings.Cut(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		return fmt.Errorf("no server answers at %s: is Caddy running, with its admin endpoint there? (%w)", address, err)
	}
	status, body, _ := strings.Cut(answer, ": ")
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) == nil && said.Error != "" {
		return &serverError{said.Error}
	}
	if status == "404" {
		return fmt.Errorf("the server at %s has no pools to show: it is a Caddy without offload", address)
	}
	return fmt.Errorf("the server at %s answers with status %s: %s", address, status, strings.TrimSpace(body))
}

// poolPath returns the path of a pool, whose name may have any characters.
func poolPath(name string, rest ...string) string {
	escaped := strings.ReplaceAll(url.PathEscape(name), ".", "%2E") // ".." would be a parent folder
	return strings.Join(append([]string{"pools/" + escaped}, rest...), "/")
}

func (s server) poolNames() ([]string, error) {
	var answer struct{ Pools []pool }
	if _, err := s.get("pools", &answer); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range answer.Pools {
		names = append(names, p.Name)
	}
	return names, nil
}

// onPool makes a request about one pool. If no pool has that name, the error suggests one
// with a similar name.
func (s server) onPool(method, name, action string, body, into any) ([]byte, error) {
	path := poolPath(name)
	if action != "" {
		path = poolPath(name, action)
	}
	text, err := s.do(method, path, body, into)
	if rejected := new(serverError); errors.As(err, &rejected) && strings.HasPrefix(rejected.text, "no pool ") {
		if names, err := s.poolNames(); err == nil {
			return nil, &serverError{rejected.text + suggest.DidYouMean("; ", name, names)}
		}
	}
	return text, err
}
