package arguments

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Settings configure a Plan. The fields are the options of the same names.
type Settings struct {
	Args       []string
	ArgsFrom   string
	Kwargs     map[string]string
	KwargsFrom []string
}

// Plan builds the arguments of each request from validated settings.
type Plan struct {
	args       []Value
	argsFrom   string
	kwargs     []field
	kwargsFrom []string
}

// field is one of the kwargs.
type field struct {
	name     string
	optional bool // left out if its value is empty
	value    Value
}

// NewPlan parses and validates settings.
func NewPlan(s Settings) (*Plan, error) {
	p := &Plan{argsFrom: s.ArgsFrom, kwargsFrom: s.KwargsFrom}
	var errs []error
	for i, text := range s.Args {
		value, err := Parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("args %d '%s': %w", i+1, text, err))
		}
		p.args = append(p.args, value)
	}
	for name, text := range s.Kwargs {
		f, err := parseField(name, text)
		errs = append(errs, err)
		p.kwargs = append(p.kwargs, f)
	}
	slices.SortFunc(p.kwargs, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(p.kwargs); i++ {
		if name := p.kwargs[i].name; name == p.kwargs[i-1].name {
			errs = append(errs, fmt.Errorf("kwargs '%s' is set with and without a question mark", name))
		}
	}
	errs = append(errs, checkSources(s))
	return p, errors.Join(errs...)
}

// parseField parses a name and its value. A question mark at the end of the name makes the
// field optional.
func parseField(name, text string) (field, error) {
	f := field{name: strings.TrimSuffix(name, "?"), optional: strings.HasSuffix(name, "?")}
	if f.name == "" {
		return f, errors.New("kwargs: a name is empty")
	}
	var err error
	if f.value, err = Parse(text); err != nil {
		return f, fmt.Errorf("kwargs '%s' '%s': %w", name, text, err)
	}
	return f, nil
}

// checkSources rejects unknown sources, and two uses of the body or of the query.
func checkSources(s Settings) error {
	if s.ArgsFrom != "" && !slices.Contains(ArgsSources, s.ArgsFrom) {
		return fmt.Errorf("unknown args_from '%s': want %s", s.ArgsFrom, strings.Join(ArgsSources, " or "))
	}
	if s.ArgsFrom == Query && slices.Contains(s.KwargsFrom, Query) {
		return errors.New("the query is used twice: leave it out of args_from or of kwargs_from")
	}
	bodies := 0
	if s.ArgsFrom != "" && s.ArgsFrom != Query {
		bodies++
	}
	for i, source := range s.KwargsFrom {
		switch {
		case !slices.Contains(KwargsSources, source):
			return fmt.Errorf("unknown kwargs_from '%s': want %s", source, strings.Join(KwargsSources, " or "))
		case slices.Contains(s.KwargsFrom[:i], source):
			return fmt.Errorf("kwargs_from names '%s' twice", source)
		case source != Query:
			bodies++
		}
	}
	if bodies > 1 {
		return errors.New("the body is used twice: args_from and kwargs_from may name one of json, array, raw and form in all")
	}
	return nil
}

// Sources of args and of kwargs.
var (
	ArgsSources   = []string{JSON, Array, Raw, Form, Query}
	KwargsSources = []string{JSON, Form, Query}
)

// Build returns the arguments of one request. Configured values override those of the request.
// An error is the client's fault; it wraps ErrMediaType for a wrong media type.
func (p *Plan) Build(in Input) (args []any, kwargs map[string]any, err error) {
	for i, value := range p.args {
		arg, err := value.Expand(in.Replacer)
		if err != nil {
			return nil, nil, fmt.Errorf("args %d: %w", i+1, err)
		}
		args = append(args, arg)
	}
	more, err := in.elements(p.argsFrom)
	if err != nil {
		return nil, nil, err
	}
	kwargs, err = p.named(in)
	return append(args, more...), kwargs, err
}

func (p *Plan) named(in Input) (map[string]any, error) {
	kwargs := make(map[string]any)
	for _, source := range p.kwargsFrom {
		if err := in.fields(source, kwargs); err != nil {
			return nil, err
		}
	}
	for _, f := range p.kwargs {
		if f.optional && f.value.empty(in.Replacer) {
			continue
		}
		value, err := f.value.Expand(in.Replacer)
		if err != nil {
			return nil, fmt.Errorf("kwargs '%s': %w", f.name, err)
		}
		kwargs[f.name] = value
	}
	return kwargs, nil
}
