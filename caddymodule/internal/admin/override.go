package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// parseOverride reads a JSON object of settings, with their values as in a Caddyfile; null
// ends the override of a setting. It checks all settings first. The function that it
// returns applies them.
func parseOverride(body []byte) (func(*offloader.Override), error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("bad body: want a JSON object of settings: %w", err)
	}
	if len(fields) == 0 {
		return nil, errors.New("no setting to change: want one or more of " + strings.Join(settings.Overridable.Names(), ", "))
	}
	var wanted, unused offloader.Override
	var reset []string
	var errs []error
	for name, value := range fields {
		if bytes.Equal(value, []byte("null")) {
			errs = append(errs, settings.Overridable.Reset(&unused, name))
			reset = append(reset, name)
			continue
		}
		errs = append(errs, settings.Overridable.Override(&wanted, name, textOf(value)))
	}
	return func(o *offloader.Override) {
		*o = o.With(wanted)
		for _, name := range reset {
			_ = settings.Overridable.Reset(o, name) // checked above
		}
	}, errors.Join(errs...)
}

// textOf returns a JSON value, text or a number, in the form of a Caddyfile.
func textOf(value json.RawMessage) string {
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(value, &text) == nil:
		return text
	case json.Unmarshal(value, &number) == nil:
		return number.String()
	}
	return string(value)
}
