package celery

import "github.com/caddy-offload/caddy-offload/caddymodule"

// Backends returns the broker and the queue that tasks are sent to. It implements
// [caddymodule.Backed].
func (h *Handler) Backends() []string { return []string{h.Broker + " " + h.Queue} }

var _ caddymodule.Backed = (*Handler)(nil)
