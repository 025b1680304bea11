package pools

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Log writes a line about a pool. There is one for each change of a pool's
// state, and none for single requests: those are in the access log. Pools outlive
// the loggers of configurations, so the line goes to whatever Caddy logs to now.
func Log(level zapcore.Level, text, pool string, fields ...zap.Field) {
	if c := caddy.Log().Named("offload").Check(level, text); c != nil {
		c.Write(append([]zap.Field{zap.String("pool", pool)}, fields...)...)
	}
}

// breakerChanged logs a change of a pool's breaker and emits its event.
func breakerChanged(pool string, from, to offloader.BreakerState) {
	level, event := zapcore.InfoLevel, "offload.breaker_closed"
	switch to {
	case offloader.StateOpen:
		level, event = zapcore.WarnLevel, "offload.breaker_opened"
	case offloader.StateHalfOpen:
		event = "offload.breaker_half_opened"
	}
	Log(level, "breaker changed", pool, zap.Stringer("from", from), zap.Stringer("to", to))
	emit(event, map[string]any{"pool": pool, "from": from.String(), "to": to.String()})
}

// saturated logs that a pool has begun to be saturated and emits its event.
func saturated(pool string) {
	Log(zapcore.InfoLevel, "pool is saturated: requests wait", pool)
	emit("offload.saturated", map[string]any{"pool": pool})
}

// configure gives the pool the settings of another configuration, which were
// validated before, and logs what is different.
func (p *Pool) configure(s offloader.Settings) {
	was, overridden := p.Settings(), p.Overridden().Count() > 0
	_ = p.Configure(s)
	if overridden && p.Overridden().Count() == 0 {
		Log(zapcore.InfoLevel, "override ended: the pool is configured differently now", p.Name())
	}
	p.LogSettings(was, "reload")
}

// LogSettings logs what is different now. by says who wanted it.
func (p *Pool) LogSettings(was offloader.Settings, by string) {
	from, to := changedSettings(was, p.Settings())
	if len(to) > 0 {
		Log(zapcore.InfoLevel, "pool settings changed", p.Name(),
			zap.String("by", by), zap.Any("from", from), zap.Any("to", to))
	}
}

// changedSettings returns those that differ, by their words.
func changedSettings(was, is offloader.Settings) (from, to map[string]string) {
	from, to = map[string]string{}, map[string]string{}
	before, after := SettingWords(was), SettingWords(is)
	for word, value := range after {
		if before[word] != value {
			from[word], to[word] = before[word], value
		}
	}
	return from, to
}

// SettingWords writes settings as one would in a Caddyfile.
func SettingWords(s offloader.Settings) map[string]string {
	b := offloader.BreakerSettings{}
	if s.Breaker != nil {
		b = *s.Breaker
	}
	return map[string]string{
		"concurrency":                  valueWord(s.Concurrency),
		"queue":                        fmt.Sprint(s.Queue),
		"max_wait":                     valueWord(s.MaxWait),
		"order":                        s.Order.String(),
		"linger":                       valueWord(s.Linger),
		"longest_timeout":              valueWord(s.LongestRun),
		"breaker":                      map[bool]string{true: "on", false: "off"}[s.Breaker != nil],
		"breaker.failure_ratio":        valueWord(b.FailureRatio),
		"breaker.min_requests":         valueWord(b.MinRequests),
		"breaker.consecutive_failures": valueWord(b.ConsecutiveFailures),
		"breaker.window":               valueWord(b.Window),
		"breaker.cool_down":            valueWord(b.CoolDown),
		"breaker.probes":               valueWord(b.Probes),
		"breaker.probe_timeout":        valueWord(b.ProbeTimeout),
	}
}

func valueWord[T int | float64 | time.Duration](v T) string {
	if v == 0 {
		return "off"
	}
	return fmt.Sprint(v)
}
