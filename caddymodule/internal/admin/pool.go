package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// maxDrainWait is the longest time that one call waits for the end of a drain.
const maxDrainWait = time.Hour

// poolDetail is a pool with all that there is to know.
type poolDetail struct {
	poolView
	// Held counts the rejected requests whose answers are delayed (reject_hold).
	Held int `json:"held"`
	// Mode is enforce, or shadow if all requests are let through. ShadowRejected counts the
	// requests that would have been rejected in mode shadow, by reason.
	Mode           string            `json:"mode"`
	ShadowRejected map[string]uint64 `json:"shadow_rejected_total"`
	// Settings are in force, Configured are those without the override.
	Settings   map[string]any `json:"settings"`
	Configured map[string]any `json:"configured"`
}

func detailOf(p *pools.Pool) poolDetail { return detail(p.Snapshot(), p) }

func detail(s offloader.Snapshot, p *pools.Pool) poolDetail {
	configured := p.Configured()
	view := viewPool(s, configured)
	view.Classes = viewClasses(p.Classes(&s))
	return poolDetail{
		view, p.Held(), p.Mode(), byName(p.ShadowRejected()), settings.View(p.Settings()), settings.View(configured),
	}
}

// pool finds the pool that is named in the path.
func (c *adminCall) pool() (*pools.Pool, error) {
	all := c.process.Pools.Living()
	for _, pool := range all {
		if pool.Name() == c.Name {
			return pool, nil
		}
	}
	return nil, adminroute.Failed(http.StatusNotFound, "no pool '%s'%s", c.Name, suggest.KnownPools(namesOf(all)))
}

func namesOf(all []*pools.Pool) []string {
	names := make([]string, len(all))
	for i, pool := range all {
		names[i] = pool.Name()
	}
	return names
}

func listPools(c *adminCall) error {
	details := []poolDetail{}
	for _, pool := range c.process.Pools.Living() {
		details = append(details, detailOf(pool))
	}
	return c.Answer(http.StatusOK, map[string]any{"pools": details})
}

func showPool(c *adminCall) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	return c.Answer(http.StatusOK, detailOf(pool))
}

// act calls f with the pool that is named in the path, and answers with the pool's new
// state.
func (c *adminCall) act(f func(*pools.Pool) error) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	if err := f(pool); err != nil {
		return err
	}
	return c.Answer(http.StatusOK, detailOf(pool))
}

func overridePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		body, err := c.Body()
		if err != nil {
			return err
		}
		change, err := parseOverride(body)
		if err != nil {
			return adminroute.Failed(http.StatusBadRequest, "%w", err)
		}
		return override(p, change)
	})
}

func resetPool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		return override(p, func(o *offloader.Override) { *o = offloader.Override{} })
	})
}

// override changes the overridden settings, and logs the differences.
func override(p *pools.Pool, change func(*offloader.Override)) error {
	was := p.Settings()
	if err := checkKeys(p, change); err != nil {
		return err
	}
	if err := p.Override(change); err != nil {
		return adminroute.Failed(http.StatusBadRequest, "%w", err)
	}
	p.LogSettings(was, "admin")
	return nil
}

// checkKeys rejects bounds for keys in a pool without keys: the pool's routes compute none
// for their requests.
func checkKeys(p *pools.Pool, change func(*offloader.Override)) error {
	var o offloader.Override
	change(&o)
	c := p.Configured()
	if (o.PerKey != nil || o.QueuePerKey != nil) && !c.Fair && c.PerKey == 0 && c.QueuePerKey == 0 {
		return adminroute.Failed(http.StatusBadRequest, "pool '%s' does not count by key: configure 'fair_by', 'per_key' or 'queue_per_key' first", p.Name())
	}
	return nil
}

// byAdmin is the field of log lines that names the origin of a change.
var byAdmin = zap.String("by", "admin")

func forceBreaker(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		var body struct {
			State string `json:"state"`
		}
		if err := c.Fields(&body); err != nil {
			return err
		}
		control, err := offloader.ParseBreakerControl(body.State)
		if err != nil {
			return adminroute.Failed(http.StatusBadRequest, "bad state: %w", err)
		}
		p.ForceBreaker(control)
		p.Logger().Warn("breaker set by an operator", byAdmin, zap.Stringer("state", control))
		return nil
	})
}

func pausePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		p.Pause()
		p.Logger().Warn("pool paused by an operator: requests wait", byAdmin)
		return nil
	})
}

func resumePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		p.Resume()
		p.Logger().Info("pool resumed by an operator", byAdmin)
		return nil
	})
}

// drainPool answers 200 if the pool is empty, or becomes empty within the wait that the
// client asks for, and 202 otherwise. By default it does not wait.
func drainPool(c *adminCall) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	wait, err := c.drainWait()
	if err != nil {
		return err
	}
	pool.Logger().Warn("pool draining for an operator: new requests are rejected", byAdmin)
	ctx, cancel := context.WithTimeout(c.R.Context(), wait)
	defer cancel()
	status := http.StatusOK
	if pool.Drain(ctx) != nil {
		status = http.StatusAccepted
	}
	return c.Answer(status, detailOf(pool))
}

func (c *adminCall) drainWait() (time.Duration, error) {
	var body struct {
		Wait string `json:"wait"`
	}
	if err := c.Fields(&body); err != nil || body.Wait == "" {
		return 0, err
	}
	wait, err := optionvalue.ParseDuration("wait", body.Wait, false)
	if err != nil {
		return 0, adminroute.Failed(http.StatusBadRequest, "%w", err)
	}
	if time.Duration(wait) > maxDrainWait {
		return 0, adminroute.Failed(http.StatusBadRequest, "bad wait value '%s': want %s at most", body.Wait, maxDrainWait)
	}
	return time.Duration(wait), nil
}

func listWaiting(c *adminCall) error { return c.listOf(serving.Waiting) }
func listRunning(c *adminCall) error { return c.listOf(serving.Active) }

func listAllWaiting(c *adminCall) error { return c.listOfAll(serving.Waiting) }
func listAllRunning(c *adminCall) error { return c.listOfAll(serving.Active) }

func (c *adminCall) listOf(list func(*pools.Pool) []requests.View) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	return c.Answer(http.StatusOK, map[string]any{"requests": list(pool)})
}

// listOfAll lists the requests of all pools, also of removed pools whose requests have not
// ended.
func (c *adminCall) listOfAll(list func(*pools.Pool) []requests.View) error {
	all := []requests.View{}
	each := c.process.Pools.All()
	slices.SortStableFunc(each, func(a, b *pools.Pool) int { return strings.Compare(a.Name(), b.Name()) })
	for _, pool := range each {
		all = slices.Concat(all, list(pool))
	}
	return c.Answer(http.StatusOK, map[string]any{"requests": all})
}
