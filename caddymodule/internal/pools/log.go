package pools

import (
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Logger returns the logger for pools and the process. Each change of a pool's state is
// logged; single requests are in the access log. Pools outlive the loggers of
// configurations, so this is Caddy's current logger, and callers must not keep it.
func Logger() *zap.Logger { return caddy.Log().Named("offload") }

// openingFields are those of the line about a breaker that has opened: cool_down is the time
// until it probes, and hold the time for which callers wait meanwhile, if they do. One that
// an operator holds open has neither.
func openingFields(s *offloader.Snapshot) (fields []zap.Field) {
	if s.ProbesIn > 0 {
		fields = append(fields, zap.Duration("cool_down", s.ProbesIn))
	}
	if s.HoldEndsIn > 0 {
		fields = append(fields, zap.Duration("hold", s.HoldEndsIn))
	}
	return fields
}
