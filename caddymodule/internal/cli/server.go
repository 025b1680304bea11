package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// call is one run of a command.
type call struct{ *admincommand.Call }

// poolPath returns the path of a pool.
func poolPath(name string, rest ...string) string {
	return strings.Join(append([]string{"pools/" + admincommand.Segment(name)}, rest...), "/")
}

func (s *call) poolNames() ([]string, error) {
	var answer struct{ Pools []pool }
	if _, err := s.Server.Get("pools", &answer); err != nil {
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
func (s *call) onPool(method, name, action string, body, into any) ([]byte, error) {
	path := poolPath(name)
	if action != "" {
		path = poolPath(name, action)
	}
	text, err := s.Server.Do(method, path, body, into)
	if rejected := new(admincommand.ServerError); errors.As(err, &rejected) && strings.HasPrefix(rejected.Text, "no pool ") {
		if names, err := s.poolNames(); err == nil {
			return nil, &admincommand.ServerError{Text: fmt.Sprintf("no pool '%s'%s", admincommand.Clean(name), suggest.Pool(name, names))}
		}
	}
	return text, err
}
