package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// poolView is a snapshot as the endpoint writes it. Times are in nanoseconds.
type poolView struct {
	Name           string            `json:"name"`
	Phase          string            `json:"phase"`
	Concurrency    int               `json:"concurrency"`
	Limit          int               `json:"limit"`
	Lent           int               `json:"lent"`
	WarmingUp      int               `json:"warming_up,omitempty"`
	Running        int               `json:"running"`
	Abandoned      int               `json:"abandoned"`
	Lingering      int               `json:"lingering"`
	Uploading      int               `json:"uploading"`
	Unspooled      int               `json:"unspooled,omitempty"`
	Predecessors   int               `json:"predecessors"`
	Upgraded       int64             `json:"upgraded"`
	Waiting        int               `json:"waiting"`
	QueueLimit     int               `json:"queue_limit"`
	OldestWait     time.Duration     `json:"oldest_wait_ns"`
	NewestFirst    bool              `json:"newest_first"`
	MeanRun        time.Duration     `json:"mean_run_ns"`
	Breaker        string            `json:"breaker"`
	BreakerForced  bool              `json:"breaker_forced"`
	Overridden     map[string]string `json:"overridden,omitempty"`
	Admitted       uint64            `json:"admitted_total"`
	Left           uint64            `json:"left_total"`
	Rejected       map[string]uint64 `json:"rejected_total"`
	Ended          map[string]uint64 `json:"ended_total"`
	BreakerChanged map[string]uint64 `json:"breaker_changed_total"`
}

func viewPool(s offloader.Snapshot, configured offloader.Settings) poolView {
	return poolView{
		Name: s.Name, Phase: s.Phase.String(),
		Concurrency: s.Concurrency, Limit: s.Limit, Lent: s.Lent, WarmingUp: s.WarmingUp,
		Running: s.Running, Abandoned: s.Abandoned, Lingering: s.Lingering,
		Uploading: s.Announced, Unspooled: s.Capped, Predecessors: s.Predecessors, Upgraded: s.Detached,
		Waiting: s.Waiting, QueueLimit: s.QueueLimit, OldestWait: s.OldestWait, NewestFirst: s.NewestFirst, MeanRun: s.TypicalRun,
		Breaker: s.Breaker.String(), BreakerForced: s.BreakerForced, Overridden: overriddenView(s.Overridden, configured),
		Admitted: s.Admitted, Left: s.Left, Rejected: byName(s.Rejected), Ended: byName(s.Ended), BreakerChanged: byName(s.BreakerChanged),
	}
}

// counted is a key of the totals of a snapshot.
type counted interface {
	comparable
	fmt.Stringer
}

func byName[K counted](totals map[K]uint64) map[string]uint64 {
	all := make(map[string]uint64, len(totals))
	for key, n := range totals {
		all[key.String()] = n
	}
	return all
}

// overriddenView maps the settings that are overridden to their configured values. It
// is nil if there are none.
func overriddenView(o offloader.Override, configured offloader.Settings) map[string]string {
	if o.Count() == 0 {
		return nil
	}
	all := pools.SettingWords(configured)
	view := make(map[string]string)
	for name, overridden := range map[string]bool{
		"concurrency": o.Concurrency != nil, "queue": o.Queue != nil, "max_wait": o.MaxWait != nil,
		"order": o.Order != nil, "linger": o.Linger != nil,
	} {
		if overridden {
			view[name] = all[name]
		}
	}
	return view
}

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
