package jobs

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/joblog"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobmetrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/storekey"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// numbers are the metrics of the jobs of the process.
var numbers = jobmetrics.NewNumbers()

// observer counts and logs what happens to jobs. Stores outlive configurations, and so does
// the logger.
var observer = joblog.Observe(func() *zap.Logger { return pools.Logger().Named("jobs") }, numbers.Observer())

// openEngine opens the engine of the store.
func (a *App) openEngine(context.Context) (jobs.Engine, error) {
	options := bolt.Options{MaxBytes: a.MaxBytes, MinFree: a.MinFree, Committed: numbers.Commit}
	if a.Encryption != nil {
		for _, source := range a.Encryption.Keys {
			key, err := storekey.Read(source.File, source.Env)
			if err != nil {
				return nil, err
			}
			options.Keys = append(options.Keys, key)
		}
	}
	return bolt.Open(a.folder, options)
}
