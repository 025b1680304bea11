package settings

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Setting is one setting of a pool, or of the breaker of a pool.
type Setting struct {
	Name    string // of the option, the key in JSON, and the setting elsewhere
	Usage   string // its meaning, in one line
	Values  string // as documentation writes them, such as "<n>" or "auto|fifo"
	Off     bool   // "off" is a value too
	Default string // the value, or its origin such as "from the timeouts"

	many     bool                           // a value may consist of several words
	parse    func(text string) (any, error) // returns the value in JSON
	apply    func(s *offloader.Settings, value []byte) error
	text     func(s *offloader.Settings) string
	view     func(s *offloader.Settings) any
	override overrider
}

// overrider replaces a setting at run time. Its functions are nil if the setting cannot
// be replaced.
type overrider struct {
	set     func(o *offloader.Override, text string) error
	reset   func(o *offloader.Override)
	present func(o *offloader.Override) bool
}

// row is a setting of type T in the table.
type row[T any] struct {
	name     string
	usage    string
	fallback string // Default if it depends on other settings
	kind     kind[T]
	in       func(*offloader.Settings) *T
	set      func(*offloader.Settings, T)  // of a value with several fields, of which in returns a copy
	override func(*offloader.Override) **T // nil: cannot be overridden
}

// setting returns the row without its type.
func (r row[T]) setting() Setting {
	s := Setting{
		Name: r.name, Usage: r.usage, Values: r.kind.values, Off: r.kind.off, Default: r.fallback,
		many: r.kind.many,
		parse: func(text string) (any, error) {
			v, err := r.kind.parse(r.name, text)
			return r.kind.encode(v), err
		},
		apply: func(s *offloader.Settings, value []byte) error {
			v, err := r.kind.decode(value)
			r.put(s, r.kind.engine(v))
			return err
		},
		text: func(s *offloader.Settings) string { return r.text(*r.in(s)) },
		view: func(s *offloader.Settings) any { return r.view(*r.in(s)) },
	}
	if r.override != nil {
		s.override = r.overrider()
	}
	if s.Default == "" {
		defaults := offloader.DefaultSettings()
		s.Default = fmt.Sprint(s.view(&defaults))
	}
	return s
}

// put writes a value into settings.
func (r row[T]) put(s *offloader.Settings, v T) {
	if r.set != nil {
		r.set(s, v)
	} else {
		*r.in(s) = v
	}
}

// text returns a value in the form of the log.
func (r row[T]) text(v T) string {
	if r.off(v) {
		return "off"
	}
	return r.kind.text(v)
}

// view returns a value in the form of the admin endpoint.
func (r row[T]) view(v T) any {
	if r.off(v) {
		return "off"
	}
	return r.kind.show(v)
}

// off reports whether a value is off.
func (r row[T]) off(v T) bool { return !r.kind.zero && reflect.ValueOf(v).IsZero() }

func (r row[T]) overrider() overrider {
	return overrider{
		set: func(o *offloader.Override, text string) error {
			v, err := r.kind.parse(r.name, text)
			if err != nil {
				return err
			}
			*r.override(o) = new(r.kind.engine(v))
			return nil
		},
		reset:   func(o *offloader.Override) { *r.override(o) = nil },
		present: func(o *offloader.Override) bool { return *r.override(o) != nil },
	}
}

// Help returns one line for the help of a command: the usage, the values that have names or
// several words, and the default.
func (s Setting) Help() string {
	text := s.Usage
	switch {
	case s.many:
		text += ": '" + strings.ReplaceAll(s.Values, "...", " ...") + "'"
	case strings.Contains(s.Values, "|"):
		text += ": '" + strings.ReplaceAll(s.Values, "|", "' or '") + "'"
	}
	if s.Off {
		text += ", or 'off'"
	}
	return text + " (default " + s.Default + ")"
}

// Syntax returns all values as the syntax of a block shows them.
func (s Setting) Syntax() string {
	if s.Off {
		return s.Values + "|off"
	}
	return s.Values
}

// Table is a list of settings that belong to one block of a Caddyfile.
type Table []Setting

// Names returns the names of all settings, in the order of the table.
func (t Table) Names() []string {
	names := make([]string, len(t))
	for i, s := range t {
		names[i] = s.Name
	}
	return names
}

// Many reports whether a value of the setting of that name may consist of several words.
func (t Table) Many(name string) bool {
	s, err := t.find(name)
	return err == nil && s.many
}

// find returns the setting of a name.
func (t Table) find(name string) (Setting, error) {
	for _, s := range t {
		if s.Name == name {
			return s, nil
		}
	}
	return Setting{}, fmt.Errorf("unknown setting '%s': want one of %s%s",
		name, strings.Join(t.Names(), ", "), suggest.DidYouMean("; ", name, t.Names()))
}

// JSON converts a value from the form of a Caddyfile. It returns the JSON of an object with
// this one key.
func (t Table) JSON(name, text string) ([]byte, error) {
	s, err := t.find(name)
	if err != nil {
		return nil, err
	}
	value, err := s.parse(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{name: value})
}

// Apply sets those settings of the table for which config, encoded as JSON, has a key. The
// others keep their values.
func (t Table) Apply(s *offloader.Settings, config any) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	for _, setting := range t {
		if value, ok := values[setting.Name]; ok {
			if err := setting.apply(s, value); err != nil {
				return err
			}
		}
	}
	return nil
}
