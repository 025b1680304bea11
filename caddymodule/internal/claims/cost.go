package claims

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// MaxScan is how many bytes of a JSON body are read for its cost. They are read from the
// spool in pieces, and are not kept.
const MaxScan = 16 << 20

// cost is the option of that name.
type cost struct {
	constant int      // zero if it depends on the request
	text     string   // with placeholders, or empty
	path     []string // of a field in the body, nil if that does not matter
	divisor  float64  // of the field's value
}

// parseCost reads the option, which may be empty.
func parseCost(s string) (cost, error) {
	if s == "" {
		return cost{constant: 1}, nil
	}
	if field, ok := strings.CutPrefix(s, "json "); ok {
		return parseField(s, strings.TrimSpace(field))
	}
	if optionvalue.HasPlaceholder(s) {
		return cost{text: s}, optionvalue.CheckNoBody("cost", s)
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > optionvalue.MaxCount {
		return cost{}, fmt.Errorf("bad cost value '%s': want a whole number from 1, a placeholder, or 'json <field>/<divisor>' such as 'json max_tokens/1024'", s)
	}
	return cost{constant: n}, nil
}

// parseField reads a field with its divisor, as in max_tokens/1024.
func parseField(s, field string) (cost, error) {
	field, text, divided := strings.Cut(field, "/")
	c := cost{path: strings.Split(field, "."), divisor: 1}
	if divided {
		var err error
		if c.divisor, err = strconv.ParseFloat(text, 64); err != nil || !(c.divisor > 0) || math.IsInf(c.divisor, 0) {
			return c, fmt.Errorf("bad cost value '%s': want a divisor above zero, such as 'json max_tokens/1024'", s)
		}
	}
	for _, name := range c.path {
		if name == "" || strings.ContainsAny(name, " {}") {
			return c, fmt.Errorf("bad cost value '%s': want a field of the body, or a path such as options.max_tokens, and a divisor, such as 'json max_tokens/1024'", s)
		}
	}
	return c, nil
}

// of returns the cost of a request by its header fields: 1 if they have no valid cost.
func (c *cost) of(repl *caddy.Replacer) int {
	switch {
	case c.constant > 0:
		return c.constant
	case c.text == "":
		return 1
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(repl.ReplaceAll(c.text, "")), 64)
	if err != nil {
		return 1
	}
	return permits(n)
}

// permits rounds n up to a number of permits, at least 1. NaN counts as 1.
func permits(n float64) int {
	if !(n > 1) {
		return 1
	}
	return int(math.Min(math.Ceil(n), optionvalue.MaxCount))
}
