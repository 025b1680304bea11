package admincommand

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
)

// Server is the admin endpoint of a running server.
type Server struct{ address, config, adapter string }

// Get requests a path and decodes the answer into into unless that is nil.
func (s Server) Get(path string, into any) ([]byte, error) {
	return s.Do(http.MethodGet, path, nil, into)
}

// Do makes a request. It returns the answer as JSON, and decodes it into into unless that
// is nil.
func (s Server) Do(method, path string, body, into any) ([]byte, error) {
	text, _, err := s.request(method, path, body)
	if err != nil || into == nil {
		return text, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return text, nil
}

func (s Server) request(method, path string, body any) (text []byte, status int, err error) {
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
func (s Server) find() (string, error) {
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
	if address == "" {
		return "", errors.New("CADDY_ADMIN is empty: unset it, or name the admin endpoint with --address")
	}
	return address, nil
}

// ServerError is an error in an answer of the server.
type ServerError struct{ Text string }

func (e *ServerError) Error() string { return e.Text }

// explainError returns an error that operators understand. Caddy's own error contains the
// server's answer as text.
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
		return &ServerError{said.Error}
	}
	if status == "404" {
		return fmt.Errorf("the server at %s has no pools to show: it is a Caddy without offload", address)
	}
	return fmt.Errorf("the server at %s answers with status %s: %s", address, status, strings.TrimSpace(body))
}

// Segment escapes a text for one segment of a path. Names may have any characters.
func Segment(text string) string {
	return strings.ReplaceAll(url.PathEscape(text), ".", "%2E") // ".." would be a parent folder
}
