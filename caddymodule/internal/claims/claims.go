// Package claims computes the claim of a request in its pool: a key, a class and a cost, by
// options of the route and of its pool. The package does not use runs.
package claims

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Options are the options class, key and cost of a route, as text. Each may be empty.
type Options struct{ Class, Key, Cost string }

// Rules are the rules of one route.
type Rules struct {
	key      string // with placeholders; empty if the client's address is the key
	keyed    bool   // the pool counts by key
	class    string // with placeholders, or empty
	fallback string // the default class, empty in a pool without classes
	classes  []string
	cost     cost
}

// New returns the rules of a route with these options in a pool with these settings. It
// returns nil if all requests have the zero claim.
func New(o Options, of offloader.Settings) (*Rules, error) {
	cost, err := parseCost(o.Cost)
	keyed := of.Fair || of.PerKey > 0 || of.QueuePerKey > 0
	if err := errors.Join(checkClass(o.Class, of.Classes), checkKey(o.Key, keyed), err); err != nil {
		return nil, err
	}
	if !keyed && len(of.Classes) == 0 && cost.constant == 1 {
		return nil, nil
	}
	r := &Rules{key: optionvalue.OrDefault(o.Key, of.KeyName), keyed: keyed, class: o.Class, cost: cost}
	for _, c := range of.Classes {
		r.classes = append(r.classes, c.Name)
	}
	switch {
	case slices.Contains(r.classes, offloader.DefaultClass):
		r.fallback = offloader.DefaultClass
	case len(r.classes) > 0:
		r.fallback = r.classes[0]
	}
	return r, nil
}

// Check returns the errors that New finds in the options alone, without a pool.
func Check(o Options) error {
	_, err := parseCost(o.Cost)
	return errors.Join(optionvalue.CheckNoBody("class", o.Class), checkKey(o.Key, true), err)
}

func checkClass(class string, classes []offloader.Class) error {
	switch {
	case class == "":
		return nil
	case len(classes) == 0:
		return fmt.Errorf("class '%s' of a pool without classes: write 'classes <name>:<weight>...' in the pool, or leave it out", class)
	case optionvalue.HasPlaceholder(class):
		return optionvalue.CheckNoBody("class", class)
	}
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name
	}
	if slices.Contains(names, class) {
		return nil
	}
	return fmt.Errorf("unknown class '%s': want one of %s, or a placeholder%s",
		class, strings.Join(names, ", "), suggest.DidYouMean("; ", class, names))
}

func checkKey(key string, keyed bool) error {
	switch {
	case key == "":
		return nil
	case !keyed:
		return fmt.Errorf("key '%s' of a pool that does not count by key: write 'fair_by', 'per_key' or 'queue_per_key' in the pool, or leave it out", key)
	}
	return optionvalue.CheckPlaceholder("key", key)
}

// Of returns the claim of a request of that client. If the cost depends on the body (see
// [Rules.ByBody]), it has to be set later.
func (r *Rules) Of(repl *caddy.Replacer, client offloader.Client) *offloader.Claim {
	c := &offloader.Claim{Class: r.classOf(repl), Cost: r.cost.of(repl)}
	if r.keyed {
		c.Key = keyOf(repl.ReplaceAll(r.key, ""), client)
	}
	return c
}

// OfJob returns the claim of a job of a tenant, whose body is read if its cost depends on it.
// The rules and the body may be nil.
func (r *Rules) OfJob(repl *caddy.Replacer, tenant string, body func() (io.ReadCloser, error)) *offloader.Claim {
	c := &offloader.Claim{Class: JobClass, Cost: 1}
	if r == nil {
		return c
	}
	if r.keyed {
		c.Key = keyOf(tenant, offloader.Client{})
	}
	c.Cost = r.cost.of(repl)
	if !r.ByBody() || body == nil {
		return c
	}
	if b, err := body(); err == nil {
		c.Cost = r.CostOf(b)
		_ = b.Close()
	}
	return c
}

// classOf returns the class of a request as the pool's own string: the text of a
// placeholder would keep the request's header in memory.
func (r *Rules) classOf(repl *caddy.Replacer) string {
	if r.class == "" {
		return r.fallback
	}
	class := repl.ReplaceAll(r.class, "")
	if i := slices.Index(r.classes, class); i >= 0 {
		return r.classes[i]
	}
	return r.fallback
}

// ByBody reports whether the cost depends on the body.
func (r *Rules) ByBody() bool { return r.cost.path != nil }

// CostOf returns the cost of a request by its body, of which it reads MaxScan bytes at
// most. The cost is 1 if the body is no JSON object, and if the field is missing or no
// number. If the field occurs more than once, the largest value counts, since parsers
// differ in which value they take.
func (r *Rules) CostOf(body io.Reader) int {
	n, ok := largest(io.LimitReader(body, MaxScan), r.cost.path)
	if !ok {
		return 1
	}
	return permits(n / r.cost.divisor)
}

// JobClass is the class of jobs. Requests are of it only if the pool lists it.
const JobClass = "jobs"

// WithJobs adds the class of jobs to the settings of a pool, unless the pool lists it. It is
// the least urgent class, with the least weight of all. In a pool without classes, requests
// are of the default class, so that jobs get half of the permits while requests wait.
func WithJobs(s offloader.Settings) offloader.Settings {
	if slices.ContainsFunc(s.Classes, func(c offloader.Class) bool { return c.Name == JobClass }) {
		return s
	}
	classes := slices.Clone(s.Classes)
	if len(classes) == 0 {
		classes = []offloader.Class{{Name: offloader.DefaultClass, Weight: 1}}
	}
	least := slices.MinFunc(classes, func(a, b offloader.Class) int { return cmp.Compare(a.Weight, b.Weight) })
	s.Classes = append(classes, offloader.Class{Name: JobClass, Weight: least.Weight})
	return s
}
