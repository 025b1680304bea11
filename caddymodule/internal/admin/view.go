package admin

import (
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// settingsView are settings in the words of a Caddyfile. What can be off is the
// word "off" then, and durations are text.
type settingsView struct {
	Concurrency any    `json:"concurrency"`
	Queue       int    `json:"queue"`
	MaxWait     string `json:"max_wait"`
	Order       string `json:"order"`
	Linger      string `json:"linger"`
	Breaker     any    `json:"breaker"`
}

type breakerView struct {
	FailureRatio        any    `json:"failure_ratio"`
	MinRequests         int    `json:"min_requests"`
	ConsecutiveFailures any    `json:"consecutive_failures"`
	Window              string `json:"window"`
	CoolDown            string `json:"cool_down"`
	Probes              int    `json:"probes"`
	ProbeTimeout        string `json:"probe_timeout"`
}

func viewSettings(s offloader.Settings) settingsView {
	v := settingsView{
		Concurrency: valueOrOff(s.Concurrency), Queue: s.Queue, MaxWait: shortDuration(s.MaxWait),
		Order: s.Order.String(), Linger: shortDuration(s.Linger), Breaker: "off",
	}
	if s.Breaker != nil {
		b := s.Breaker.WithDefaults(s.LongestRun)
		v.Breaker = breakerView{
			FailureRatio: valueOrOff(b.FailureRatio), MinRequests: b.MinRequests,
			ConsecutiveFailures: valueOrOff(b.ConsecutiveFailures), Window: shortDuration(b.Window),
			CoolDown: shortDuration(b.CoolDown), Probes: b.Probes, ProbeTimeout: shortDuration(b.ProbeTimeout),
		}
	}
	return v
}

func valueOrOff[T int | float64](v T) any {
	if v == 0 {
		return "off"
	}
	return v
}

// shortDuration writes a duration as people do: 2m, not 2m0s.
func shortDuration(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func pressureOf(n offloader.Gauges) pressure {
	return pressure{n.Running, n.Limit, n.Waiting, n.QueueLimit, n.Breaker.String()}
}
