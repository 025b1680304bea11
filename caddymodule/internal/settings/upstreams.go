package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// UpstreamConcurrency is the limit of runs at each upstream of a pool in JSON.
type UpstreamConcurrency struct {
	// No such limit.
	Off bool `json:"off,omitempty"`

	// How many requests may run at once at each upstream.
	Each int `json:"each,omitempty"`

	// Other numbers, by the addresses of upstreams as `dial` of `reverse_proxy` has them.
	Of map[string]int `json:"of,omitempty"`
}

// upstreamLimits are the same in the engine, which has a field for each.
type upstreamLimits struct {
	each int
	of   map[string]int
}

// String returns the number of each, and then those that differ.
func (l upstreamLimits) String() string {
	words := []string{fmt.Sprint(l.each)}
	for _, address := range slices.Sorted(maps.Keys(l.of)) {
		words = append(words, fmt.Sprintf("%s %d", address, l.of[address]))
	}
	return strings.Join(words, ", ")
}

// perUpstream is a number for all upstreams, with others for some in JSON, or off.
func perUpstream() kind[upstreamLimits] {
	counts := optionvalue.AtLeast(1, true)
	return kind[upstreamLimits]{
		values: "<n>", off: true,
		parse: func(name, text string) (upstreamLimits, error) {
			n, err := optionvalue.ParseCount(name, text, counts)
			return upstreamLimits{each: optionvalue.OrDefault(n, n)}, err
		},
		encode: func(l upstreamLimits) any {
			return UpstreamConcurrency{Off: l.each == 0, Each: l.each, Of: l.of}
		},
		decode: decodeUpstreamLimits,
		engine: func(l upstreamLimits) upstreamLimits { return l },
		text:   upstreamLimits.String,
		show:   func(l upstreamLimits) any { return l.String() },
	}
}

func decodeUpstreamLimits(text []byte) (upstreamLimits, error) {
	var c UpstreamConcurrency
	if err := json.Unmarshal(text, &c); err != nil {
		return upstreamLimits{}, err
	}
	if c.Off != (c.Each == 0) || c.Off && len(c.Of) > 0 || c.Each < 0 {
		return upstreamLimits{}, errors.New("upstream_concurrency: set 'each' to a number from 1 on, or 'off' alone")
	}
	return upstreamLimits{c.Each, c.Of}, nil
}
