package jobroute

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
)

// ParseRoute reads the option "jobs" of a route, which b is at.
func ParseRoute(h httpcaddyfile.Helper, b *caddyfileblock.Block) (json.RawMessage, error) {
	guest, err := parser[jobhost.RouteParser](b, jobhost.RouteModule)
	if err != nil {
		return nil, err
	}
	if err := guest.ParseJobs(h.WithDispenser(b.D.NewFromNextSegment())); err != nil {
		return nil, err
	}
	return caddyconfig.JSON(guest, nil), nil
}

// ParseApp reads the option "jobs" of the global option, which b is at.
func ParseApp(b *caddyfileblock.Block) (json.RawMessage, error) {
	guest, err := parser[jobhost.AppParser](b, jobhost.AppModule)
	if err != nil {
		return nil, err
	}
	if err := guest.UnmarshalCaddyfile(b.D.NewFromNextSegment()); err != nil {
		return nil, err
	}
	return caddyconfig.JSON(guest, nil), nil
}

// parser returns an empty guest that reads an option.
func parser[T any](b *caddyfileblock.Block, id caddy.ModuleID) (guest T, err error) {
	module, err := create(id)
	if err == nil {
		guest, err = as[T](module)
	}
	if err != nil {
		return guest, b.At.WrapErr(err)
	}
	return guest, nil
}

// NameOf returns the name of jobs by their JSON, empty if they have none.
func NameOf(text json.RawMessage) (string, error) {
	var jobs struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(text, &jobs); err != nil {
		return "", fmt.Errorf("jobs: %w", err)
	}
	return jobs.Name, nil
}

// WithName gives jobs a name in their JSON.
func WithName(text json.RawMessage, name string) (json.RawMessage, error) {
	var jobs map[string]json.RawMessage
	if err := json.Unmarshal(text, &jobs); err != nil {
		return nil, err
	}
	if jobs == nil {
		jobs = make(map[string]json.RawMessage)
	}
	jobs["name"] = caddyconfig.JSON(name, nil)
	return json.Marshal(jobs)
}
