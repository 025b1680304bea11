package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Breaker has the settings of a pool's breaker. They are zero in a pool without one.
var Breaker = Table{
	row[float64]{
		name: "failure_ratio", usage: "The share of failures in the window that trips the breaker", kind: share(),
		in: func(s *offloader.Settings) *float64 { return &breakerOf(s).FailureRatio },
	}.setting(),
	row[int]{
		name: "min_requests", usage: "How many results the window must hold before a ratio counts", kind: count(1, false),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).MinRequests },
	}.setting(),
	row[int]{
		name: "consecutive_failures", usage: "How many failures in a row trip the breaker", kind: count(1, true),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).ConsecutiveFailures },
	}.setting(),
	row[slowRuns]{
		name: "slow_ratio", usage: "Trips when this share of the runs in the window takes longer than this time until the response begins", kind: slowRatio(),
		in: func(s *offloader.Settings) *slowRuns {
			b := breakerOf(s)
			return &slowRuns{b.SlowRatio, b.SlowAfter}
		},
		set: func(s *offloader.Settings, v slowRuns) {
			b := breakerOf(s)
			b.SlowRatio, b.SlowAfter = v.ratio, v.after
		},
	}.setting(),
	row[string]{
		name: "statuses", usage: "The statuses of responses that are failures, codes from 400 to 599 and the classes 4xx and 5xx", kind: statuses(),
		in: func(s *offloader.Settings) *string { return &breakerOf(s).Statuses },
	}.setting(),
	row[time.Duration]{
		name: "window", usage: "The rolling time window in which results count for the ratios", fallback: "from the timeouts", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).Window },
	}.setting(),
	row[time.Duration]{
		name: "hold", usage: "How long requests wait, instead of being rejected, after the breaker has tripped", kind: duration(true),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).Hold },
	}.setting(),
	row[time.Duration]{
		name: "cool_down", usage: "How long the breaker stays open before it probes", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).CoolDown },
	}.setting(),
	row[int]{
		name: "probes", usage: "How many probe requests run at once after the cool-down; as many must succeed to close the breaker", kind: count(1, false),
		in: func(s *offloader.Settings) *int { return &breakerOf(s).Probes },
	}.setting(),
	row[time.Duration]{
		name: "probe_timeout", usage: "How long a probe may take to begin a good response before it counts as a failure", fallback: "from the timeouts", kind: duration(false),
		in: func(s *offloader.Settings) *time.Duration { return &breakerOf(s).ProbeTimeout },
	}.setting(),
	row[bool]{
		name: "scope", usage: "Whether the pool has one breaker, or each of its upstreams has its own", kind: scope(),
		in: func(s *offloader.Settings) *bool { return &breakerOf(s).PerUpstream },
	}.setting(),
}

// breakerOf returns the settings of a breaker, or zeros that belong to no pool.
func breakerOf(s *offloader.Settings) *offloader.BreakerSettings {
	if s.Breaker == nil {
		return new(offloader.BreakerSettings)
	}
	return s.Breaker
}

// scopes are the names of the scopes of a breaker, those of the engine's false and true.
var scopes = []string{"pool", "upstream"}

// scope says what a breaker is for.
func scope() kind[bool] {
	name := func(each bool) any {
		if each {
			return scopes[1]
		}
		return scopes[0]
	}
	k := plain(strings.Join(scopes, "|"), func(option, text string) (bool, error) {
		_, err := optionvalue.ParseChoice(option, text, scopes)
		return text == scopes[1], err
	})
	k.zero, k.encode, k.show = true, name, name
	k.text = func(each bool) string { return fmt.Sprint(name(each)) }
	k.decode = func(text []byte) (bool, error) {
		var word string
		if err := json.Unmarshal(text, &word); err != nil {
			return false, err
		}
		return k.parse("scope", word)
	}
	return k
}

// SlowRatio is the rule of a breaker for slow runs in JSON.
type SlowRatio struct {
	// No such rule.
	Off bool `json:"off,omitempty"`

	// The share of slow runs among the results in the window that trips, above 0 and up
	// to 1.
	Ratio float64 `json:"ratio,omitempty"`

	// A run is slow if its response has not begun after this time.
	Time caddy.Duration `json:"time,omitempty"`
}

// slowRuns is the rule for slow runs in the engine, which has a field for each.
type slowRuns struct {
	ratio float64
	after time.Duration
}

func (r slowRuns) String() string { return fmt.Sprint(r.ratio, " ", shortDuration(r.after)) }

// slowRatio is a share and a time, or off.
func slowRatio() kind[slowRuns] {
	return kind[slowRuns]{
		values: "<ratio> <duration>", off: true, many: true,
		parse: parseSlowRatio,
		encode: func(r slowRuns) any {
			return SlowRatio{Off: r == slowRuns{}, Ratio: r.ratio, Time: caddy.Duration(r.after)}
		},
		decode: decodeSlowRatio,
		engine: func(r slowRuns) slowRuns { return r },
		text:   slowRuns.String,
		show:   func(r slowRuns) any { return r.String() },
	}
}

func parseSlowRatio(name, text string) (slowRuns, error) {
	words := strings.Fields(text)
	switch {
	case text == "off":
		return slowRuns{}, nil
	case len(words) != 2 || words[0] == "off":
		return slowRuns{}, fmt.Errorf("bad %s value '%s': want <ratio> <duration>, such as 0.5 2s, or 'off' alone", name, text)
	}
	ratio, err := optionvalue.ParseShare(name, words[0])
	if err != nil {
		return slowRuns{}, err
	}
	after, err := optionvalue.ParseDuration(name, words[1], false)
	return slowRuns{ratio, time.Duration(after)}, err
}

func decodeSlowRatio(text []byte) (slowRuns, error) {
	var c SlowRatio
	if err := json.Unmarshal(text, &c); err != nil {
		return slowRuns{}, err
	}
	complete := !c.Off && c.Ratio > 0 && c.Ratio <= 1 && c.Time > 0
	if !complete && c != (SlowRatio{Off: true}) {
		return slowRuns{}, errors.New("breaker slow_ratio: set a 'ratio' above 0 and up to 1 and a 'time' above zero, or 'off' alone")
	}
	return slowRuns{c.Ratio, time.Duration(c.Time)}, nil
}

// statuses are codes and classes of statuses, as [outcome.ParseStatuses] reads them. In
// JSON they are a list of numbers and strings.
func statuses() kind[string] {
	k := plain("<status>...", parseStatuses)
	k.many = true
	k.encode = func(text string) any {
		var list []caddyhttp.WeakString
		for word := range strings.FieldsSeq(text) {
			list = append(list, caddyhttp.WeakString(word))
		}
		return list
	}
	k.decode = func(text []byte) (string, error) {
		var list []caddyhttp.WeakString
		if err := json.Unmarshal(text, &list); err != nil {
			return "", err
		}
		words := make([]string, len(list))
		for i, word := range list {
			words[i] = string(word)
		}
		return parseStatuses("statuses", strings.Join(words, " "))
	}
	return k
}

func parseStatuses(name, text string) (string, error) {
	s, err := outcome.ParseStatuses(text)
	if err != nil {
		return "", fmt.Errorf("bad %s value %w", name, err)
	}
	return s.String(), nil
}
