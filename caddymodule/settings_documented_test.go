package caddymodule

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// documentation reads a file of the folder docs.
func documentation(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hasKey reports whether a struct has a field with this key in JSON.
func hasKey(config reflect.Type, key string) bool {
	for field := range config.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name == key {
			return true
		}
	}
	return false
}

// Each setting of the table has a field in JSON, a line in the syntax of the block, and a
// row in the documentation with its meaning and default.
func TestSettingsAreDocumented(t *testing.T) {
	caddyfile, keys := documentation(t, "caddyfile.md"), documentation(t, "json.md")
	for config, table := range map[reflect.Type]settings.Table{
		reflect.TypeFor[PoolConfig]():    settings.Pool,
		reflect.TypeFor[BreakerConfig](): settings.Breaker,
	} {
		for _, s := range table {
			if !hasKey(config, s.Name) {
				t.Errorf("%s has no field for %s", config, s.Name)
			}
			syntax := regexp.MustCompile(`(?m)^\t+` + s.Name + ` +` + regexp.QuoteMeta(s.Syntax()) + `$`)
			if !syntax.MatchString(caddyfile) {
				t.Errorf("no line matches %s", syntax)
			}
			checkRow(t, caddyfile, s)
			if minusOne, _, _ := strings.Cut(keys, "`\"queue\": 0`"); s.Off && !strings.Contains(minusOne, "`"+s.Name+"`") {
				t.Errorf("json.md does not list %s as off by -1", s.Name)
			}
		}
	}
}

// checkRow checks the row of a setting: its values, meaning, default, and whether it can
// be off.
func checkRow(t *testing.T, text string, s settings.Setting) {
	t.Helper()
	head := "`" + s.Name + " " + strings.ReplaceAll(s.Values, "|", `\|`) + "`"
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) != 6 || !strings.Contains(strings.ReplaceAll(cells[1], "\x00", `\|`), head) {
			continue
		}
		meaning := strings.ToLower(s.Usage[:1]) + s.Usage[1:]
		if got := strings.TrimSpace(cells[2]); !strings.HasPrefix(got, meaning) {
			t.Errorf("%s: the meaning is %q, want %q", s.Name, got, meaning)
		}
		if got := strings.TrimSpace(cells[3]); got != "`"+s.Default+"`" && s.Default != "from the timeouts" {
			t.Errorf("%s: the default is %s, want %s", s.Name, got, s.Default)
		}
		if got := strings.Contains(cells[4], "`off`"); got != s.Off {
			t.Errorf("%s: can be off: %t, want %t", s.Name, got, s.Off)
		}
		return
	}
	t.Errorf("no row begins with %s", head)
}

// The description of the admin endpoint lists the settings in the order of the table.
func TestSettingsAreInTheDescriptionOfTheAdminEndpoint(t *testing.T) {
	text := documentation(t, "openapi.yaml")
	for _, want := range []string{
		"required: [" + strings.Join(poolOptions, ", ") + "]",
		"required: [" + strings.Join(settings.Breaker.Names(), ", ") + "]",
		"propertyNames: {enum: [" + strings.Join(settings.Overridable.Names(), ", ") + "]}",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openapi.yaml has no %q", want)
		}
	}
}

// The default of a setting in the table is its value without configuration.
func TestDefaultsAreThoseOfTheTable(t *testing.T) {
	none, err := PoolConfig{}.settings(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings.Pool {
		object, err := settings.Pool.JSON(s.Name, s.Default)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		var written PoolConfig
		if err := json.Unmarshal(object, &written); err != nil {
			t.Fatal(err)
		}
		got, err := written.settings(0)
		if err != nil {
			t.Fatal(err)
		}
		if from, to := settings.Changed(none, got); len(to) > 0 {
			t.Errorf("%s %s changes %v to %v", s.Name, s.Default, from, to)
		}
	}
}
