package settings

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Class is a class of a pool in JSON.
type Class struct {
	// The name of the class, for the option `class` of routes.
	Name string `json:"name"`

	// Its part of the permits while all classes wait, in relation to the other weights,
	// from 1 to 1000.
	Weight int `json:"weight"`
}

// placeholder is the kind of settings whose value is text with a placeholder, or off.
func placeholder() kind[string] {
	k := plain("<placeholder>", func(name, text string) (string, error) {
		if text == "off" {
			return "", nil
		}
		return text, optionvalue.CheckPlaceholder(name, text)
	})
	k.off = true
	return k
}

// classes is the kind of the setting with the classes of a pool, the most urgent one first,
// or off.
func classes() kind[[]offloader.Class] {
	k := kind[[]offloader.Class]{
		values: "<name>:<weight>...", off: true, many: true,
		parse: parseClasses,
		encode: func(all []offloader.Class) any {
			list := make([]Class, len(all))
			for i, c := range all {
				list[i] = Class(c)
			}
			return list
		},
		engine: func(all []offloader.Class) []offloader.Class { return all },
		text:   classesText,
		show:   func(all []offloader.Class) any { return classesText(all) },
	}
	k.decode = func(text []byte) ([]offloader.Class, error) {
		var list []Class
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, err
		}
		var all []offloader.Class
		for _, c := range list {
			all = append(all, offloader.Class(c))
		}
		return all, nil
	}
	return k
}

// parseClasses reads classes as they are written in a Caddyfile.
func parseClasses(name, text string) (all []offloader.Class, err error) {
	if text == "off" {
		return nil, nil
	}
	for word := range strings.FieldsSeq(text) {
		class, weight, _ := strings.Cut(word, ":")
		n, err := strconv.Atoi(weight)
		if err != nil || class == "" || n < 1 || n > offloader.MaxWeight {
			return nil, fmt.Errorf("bad %s value '%s': want <name>:<weight>, such as interactive:8, with a weight from 1 to %d", name, word, offloader.MaxWeight)
		}
		if indexOf(all, class) >= 0 {
			return nil, fmt.Errorf("bad %s value '%s': class '%s' is listed twice", name, word, class)
		}
		all = append(all, offloader.Class{Name: class, Weight: n})
	}
	return all, nil
}

func indexOf(all []offloader.Class, name string) int {
	return slices.IndexFunc(all, func(c offloader.Class) bool { return c.Name == name })
}

// classesText writes classes in the form of a Caddyfile.
func classesText(all []offloader.Class) string {
	words := make([]string, len(all))
	for i, c := range all {
		words[i] = fmt.Sprintf("%s:%d", c.Name, c.Weight)
	}
	return strings.Join(words, " ")
}
