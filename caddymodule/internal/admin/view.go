package admin

import (
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
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
		Breaker: s.Breaker.String(), BreakerForced: s.BreakerForced, Overridden: settings.Overridable.Overridden(s.Overridden, configured),
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

func pressureOf(n offloader.Gauges) pressure {
	return pressure{n.Running, n.Limit, n.Waiting, n.QueueLimit, n.Breaker.String()}
}
