package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// maxDrainWait is the longest wait of one call for the end of a drain.
const maxDrainWait = time.Hour

// poolDetail is a pool with all that there is to know.
type poolDetail struct {
	poolView
	// Settings are in force, Configured are those without the override.
	Settings   map[string]any `json:"settings"`
	Configured map[string]any `json:"configured"`
}

func detailOf(p *pools.Pool) poolDetail {
	configured := p.Configured()
	return poolDetail{viewPool(p.Snapshot(), configured), settings.View(p.Settings()), settings.View(configured)}
}

// pool finds the pool that is named in the path.
func (c *adminCall) pool() (*pools.Pool, error) {
	all := pools.Living()
	for _, pool := range all {
		if pool.Name() == c.name {
			return pool, nil
		}
	}
	return nil, failed(http.StatusNotFound, "no pool '%s'%s", c.name, suggest.KnownPools(namesOf(all)))
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
	for _, pool := range pools.Living() {
		details = append(details, detailOf(pool))
	}
	return c.answer(http.StatusOK, map[string]any{"pools": details})
}

func showPool(c *adminCall) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, detailOf(pool))
}

// act does something to the pool that is named, and answers what came of it.
func (c *adminCall) act(f func(*pools.Pool) error) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	if err := f(pool); err != nil {
		return err
	}
	return c.answer(http.StatusOK, detailOf(pool))
}

func overridePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		body, err := c.body()
		if err != nil {
			return err
		}
		change, err := parseOverride(body)
		if err != nil {
			return failed(http.StatusBadRequest, "%w", err)
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
	if err := p.Override(change); err != nil {
		return failed(http.StatusBadRequest, "%w", err)
	}
	p.LogSettings(was, "admin")
	return nil
}

// byAdmin is the field of log lines that names the origin of a change.
var byAdmin = zap.String("by", "admin")

func forceBreaker(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		var body struct {
			State string `json:"state"`
		}
		if err := c.fields(&body); err != nil {
			return err
		}
		control, err := offloader.ParseBreakerControl(body.State)
		if err != nil {
			return failed(http.StatusBadRequest, "bad state: %w", err)
		}
		p.ForceBreaker(control)
		pools.Log(zapcore.WarnLevel, "breaker forced", p.Name(), byAdmin, zap.Stringer("state", control))
		return nil
	})
}

func pausePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		p.Pause()
		pools.Log(zapcore.WarnLevel, "pool paused", p.Name(), byAdmin)
		return nil
	})
}

func resumePool(c *adminCall) error {
	return c.act(func(p *pools.Pool) error {
		p.Resume()
		pools.Log(zapcore.InfoLevel, "pool resumed", p.Name(), byAdmin)
		return nil
	})
}

// drainPool answers 200 when the pool is empty, and 202 if it is not at the end of the
// wait, which is none by default.
func drainPool(c *adminCall) error {
	pool, err := c.pool()
	if err != nil {
		return err
	}
	wait, err := c.drainWait()
	if err != nil {
		return err
	}
	pools.Log(zapcore.WarnLevel, "pool draining", pool.Name(), byAdmin)
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	defer cancel()
	status := http.StatusOK
	if pool.Drain(ctx) != nil {
		status = http.StatusAccepted
	}
	return c.answer(status, detailOf(pool))
}

func (c *adminCall) drainWait() (time.Duration, error) {
	var body struct {
		Wait string `json:"wait"`
	}
	if err := c.fields(&body); err != nil || body.Wait == "" {
		return 0, err
	}
	wait, err := optionvalue.ParseDuration("wait", body.Wait, false)
	if err != nil {
		return 0, failed(http.StatusBadRequest, "%w", err)
	}
	if time.Duration(wait) > maxDrainWait {
		return 0, failed(http.StatusBadRequest, "bad wait value '%s': want %s at most", body.Wait, maxDrainWait)
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
	return c.answer(http.StatusOK, map[string]any{"requests": list(pool)})
}

// listOfAll lists removed pools too, until their requests have ended.
func (c *adminCall) listOfAll(list func(*pools.Pool) []requests.View) error {
	all := []requests.View{}
	each := pools.All()
	slices.SortStableFunc(each, func(a, b *pools.Pool) int { return strings.Compare(a.Name(), b.Name()) })
	for _, pool := range each {
		all = slices.Concat(all, list(pool))
	}
	return c.answer(http.StatusOK, map[string]any{"requests": all})
}
