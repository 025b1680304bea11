package celery

import "github.com/caddy-offload/caddy-offload/caddymodule"

// Backends names the workers that the tasks go to.
func (h *Handler) Backends() []string { return []string{h.Broker + " " + h.Queue} }

var _ caddymodule.Backed = (*Handler)(nil)
