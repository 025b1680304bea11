package admin

import (
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// poolView is a snapshot of a pool in the form of the endpoint. Times are in nanoseconds.
type poolView struct {
	Name           string            `json:"name"`
	Phase          string            `json:"phase"`
	Concurrency    int               `json:"concurrency"`
	Limit          int               `json:"limit"`
	Permits        int               `json:"permits"`
	Lent           int               `json:"lent"`
	WarmingUp      int               `json:"warming_up,omitempty"`
	LimitReason    string            `json:"limit_reason,omitempty"`
	Running        int               `json:"running"`
	RunningMax     int               `json:"running_max"`
	Abandoned      int               `json:"abandoned"`
	Lingering      int               `json:"lingering"`
	Preflights     int               `json:"preflights"`
	Uploading      int               `json:"uploading"`
	Unspooled      int               `json:"unspooled,omitempty"`
	Predecessors   int               `json:"predecessors"`
	Upgraded       int64             `json:"upgraded"`
	Waiting        int               `json:"waiting"`
	WaitingMax     int               `json:"waiting_max"`
	QueueLimit     int               `json:"queue_limit"`
	OldestWait     time.Duration     `json:"oldest_wait_ns"`
	NewestFirst    bool              `json:"newest_first"`
	MeanRun        time.Duration     `json:"mean_run_ns"`
	Breaker        string            `json:"breaker"`
	BreakerForced  bool              `json:"breaker_forced"`
	ProbesIn       time.Duration     `json:"breaker_probes_in_ns,omitempty"`
	BreakerHeld    int               `json:"breaker_held"` // the part of Waiting that waits for the breaker
	HoldEndsIn     time.Duration     `json:"breaker_hold_ends_in_ns,omitempty"`
	Overridden     map[string]string `json:"overridden,omitempty"`
	Admitted       uint64            `json:"admitted_total"`
	Left           uint64            `json:"left_total"`
	Rejected       map[string]uint64 `json:"rejected_total"`
	Ended          map[string]uint64 `json:"ended_total"`
	BreakerChanged map[string]uint64 `json:"breaker_changed_total"`
	Classes        []ClassView       `json:"classes,omitempty"`
	Upstreams      []UpstreamView    `json:"upstreams,omitempty"`
	Seeking        int               `json:"seeking,omitempty"` // the part of Running without an upstream
}

// ClassView has the numbers of a class in the form of the endpoint.
type ClassView struct {
	Name     string `json:"name"`
	Weight   int    `json:"weight"`
	Waiting  int    `json:"waiting"`
	Running  int    `json:"running"`
	Admitted uint64 `json:"admitted_total"`
	Rejected uint64 `json:"rejected_total"`
}

// UpstreamView has the numbers of an upstream as the endpoint writes them.
type UpstreamView struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Breaker   string `json:"breaker"`
	Limit     int    `json:"limit"`
	Running   int    `json:"running"`
	Weight    int    `json:"weight"`
}

func viewUpstreams(counts []offloader.UpstreamCount) (all []UpstreamView) {
	for _, u := range counts {
		all = append(all, UpstreamView{u.Name, u.Available, u.Breaker.String(), u.Limit, u.Running, u.Weight})
	}
	return all
}

func viewClasses(counts []offloader.ClassCount) (all []ClassView) {
	for _, c := range counts {
		all = append(all, ClassView{c.Name, c.Weight, c.Waiting, c.Running, c.Admitted, c.Rejected})
	}
	return all
}

func viewPool(s offloader.Snapshot, configured offloader.Settings) poolView {
	return poolView{
		Name: s.Name, Phase: s.Phase.String(),
		Concurrency: s.Concurrency, Limit: s.Limit, Permits: permits(s), Lent: s.Lent, WarmingUp: s.WarmingUp,
		LimitReason: limitReason(s),
		Running:     s.Running, RunningMax: s.MostRunning, WaitingMax: s.MostWaiting, Abandoned: s.Abandoned, Lingering: s.Lingering, Preflights: s.Preflights,
		Uploading: s.Announced, Unspooled: s.Capped, Predecessors: s.Predecessors, Upgraded: s.Detached,
		Waiting: s.Waiting, QueueLimit: s.QueueLimit, OldestWait: s.OldestWait, NewestFirst: s.NewestFirst, MeanRun: s.TypicalRun,
		Breaker: s.Breaker.String(), BreakerForced: s.BreakerForced, ProbesIn: s.ProbesIn, BreakerHeld: s.Held, HoldEndsIn: s.HoldEndsIn,
		Overridden: settings.Overridable.Overridden(s.Overridden, configured),
		Admitted:   s.Admitted, Left: s.Left, Rejected: byName(s.Rejected), Ended: byName(s.Ended), BreakerChanged: byName(s.BreakerChanged),
		Upstreams: viewUpstreams(s.Upstreams), Seeking: s.Seeking,
	}
}

// permits returns how many permits the runs of a pool can hold. The limit of a pool that
// warms up is only for runs that began after its breaker closed.
func permits(s offloader.Snapshot) int {
	if s.WarmingUp > 0 {
		return s.Concurrency - min(s.Lent, s.Concurrency)
	}
	return s.Limit
}

// limitReason returns the reason for which a pool gives out fewer permits than its
// concurrency, empty if it does not.
func limitReason(s offloader.Snapshot) string {
	switch {
	case s.WarmingUp > 0:
		return "warming_up"
	case s.Lent > 0:
		return "lent"
	case s.HoldEndsIn > 0 && s.Limit < s.Concurrency:
		return "probing"
	}
	return ""
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

// pressure has the numbers of a pool at one moment.
type pressure struct {
	Running    int    `json:"running"`
	Limit      int    `json:"limit"`
	Waiting    int    `json:"waiting"`
	QueueLimit int    `json:"queue_limit"`
	Breaker    string `json:"breaker"`
}

func pressureOf(n offloader.Gauges) pressure {
	return pressure{n.Running, n.Limit, n.Waiting, n.QueueLimit, n.Breaker.String()}
}
