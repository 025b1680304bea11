// Package webhook sends a message to an endpoint when a job has ended: signed as the
// specification Standard Webhooks says, and to public addresses alone, unless its route allows
// others. One call is one try; when there is another one is decided by the service of jobs.
package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Bounds of a try.
const (
	timeout    = 15 * time.Second
	maxAnswer  = 4 << 10
	maxHead    = 16 << 10
	idlePerHop = 2
)

// Sender sends the messages of a route. Its methods may be called from any goroutine.
type Sender struct {
	config    *Config
	rules     *rules
	location  func(*jobs.Record) string
	dialer    *net.Dialer
	transport *http.Transport
}

// Open returns the sender of a valid configuration. It fails if a secret cannot be read.
// Messages hold the URL of the job, which location returns.
func (c *Config) Open(location func(*jobs.Record) string) (*Sender, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	for _, s := range c.Secrets {
		if _, err := s.keys(); err != nil {
			return nil, fmt.Errorf("webhook: %w", err)
		}
	}
	rules, err := c.rules()
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	dialer := &net.Dialer{ControlContext: rules.guard.control}
	return &Sender{c, rules, location, dialer, &http.Transport{
		// No proxy of the environment: the guard would see the address of the proxy.
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idlePerHop,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHead,
	}}, nil
}

// Close ends idle connections.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// Hook returns the webhook of a job that is handed in with these headers, or nil if it has
// none. Its error is for the client.
func (s *Sender) Hook(h http.Header) (*jobs.Hook, error) {
	url := s.config.URL
	if s.config.FromHeader != "" {
		if url = h.Get(s.config.FromHeader); url == "" {
			return nil, nil
		}
		if _, err := s.rules.check(url); err != nil {
			return nil, fmt.Errorf("the URL in %s cannot be used: %w", s.config.FromHeader, err)
		}
	}
	return &jobs.Hook{URL: url, Secret: s.config.Secrets[0].Name, WithResult: s.config.WithResult}, nil
}

// Deliver sends the message about a job that has ended.
func (s *Sender) Deliver(ctx context.Context, m jobs.Message) jobs.Delivery {
	hook := m.Record.Hook
	// The rules may have changed since the job was accepted.
	if _, err := s.rules.check(hook.URL); err != nil {
		return jobs.Delivery{Error: "url"}
	}
	i := slices.IndexFunc(s.config.Secrets, func(secret Secret) bool { return secret.Name == hook.Secret })
	if i < 0 {
		return jobs.Delivery{Error: "secret"}
	}
	keys, err := s.config.Secrets[i].keys()
	if err != nil {
		return jobs.Delivery{Error: "secret"}
	}
	body := encode(m, s.location(m.Record))
	return s.post(ctx, hook.URL, body, sign(keys, m.ID, time.Now(), body))
}

// post sends a request by the transport itself: it follows no redirect, and has no cookies.
func (s *Sender) post(ctx context.Context, url string, body []byte, fields map[string]string) jobs.Delivery {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return jobs.Delivery{Error: "url"}
	}
	for name, value := range fields {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "caddy-offload")
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return jobs.Delivery{Error: failure(ctx, err)}
	}
	defer response.Body.Close()
	// A connection can be used again when its answer has been read.
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	return answerOf(response)
}
