package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/bench/internal/scenario"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

func TestFlags(t *testing.T) {
	o, err := parse([]string{"-quick", "-rounds", "3", "-targets", "caddy,offload", "-sizes", "128,65536", "s1", "sse"})
	if err != nil {
		t.Fatal(err)
	}
	if !o.quick || o.rounds != 3 {
		t.Errorf("quick %v, rounds %d", o.quick, o.rounds)
	}
	if !slices.Equal(o.only, []target.Name{target.Caddy, target.Offload}) || !slices.Equal(o.sizes, []int{128, 65536}) {
		t.Errorf("targets %v, sizes %v", o.only, o.sizes)
	}
	if len(o.scenarios) != 2 || o.scenarios[1].Name != "sse" {
		t.Fatalf("scenarios %v", o.scenarios)
	}
	want := "go run ./bench -quick -rounds 3 -targets caddy,offload -sizes 128,65536 sse"
	if got := o.command(o.scenarios[1]); got != want {
		t.Errorf("command %q, want %q", got, want)
	}
}

func TestAllIsTheDefault(t *testing.T) {
	o, err := parse(nil)
	if err != nil || len(o.scenarios) != len(scenario.All()) || len(o.only) != 0 || len(o.sizes) != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	if got := o.command(o.scenarios[0]); got != "go run ./bench s1" {
		t.Errorf("command %q", got)
	}
}

func TestScenariosHaveNamesAndTitles(t *testing.T) {
	o, err := parse([]string{"-quick", "upstreams", "outage", "rolling"})
	if err != nil || len(o.scenarios) != 3 {
		t.Fatalf("%+v, %v", o.scenarios, err)
	}
	for i, name := range []string{"upstreams", "outage", "rolling"} {
		if s := o.scenarios[i]; s.Name != name || !strings.HasPrefix(s.Title, name+": ") {
			t.Errorf("%q: %q", s.Name, s.Title)
		}
	}
}

func TestBadFlagsAreErrors(t *testing.T) {
	for _, args := range [][]string{{"-sizes", "large"}, {"s6"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// Programs that no target needs are not installed.
func TestOnlyNeededProgramsAreLookedFor(t *testing.T) {
	for _, c := range []struct {
		only    []target.Name
		program string
		want    bool
	}{
		{nil, "haproxy", true},
		{[]target.Name{target.Caddy, target.Offload}, "haproxy", false},
		{[]target.Name{target.Caddy, target.Offload}, "taskset", true},
		{[]target.Name{target.HAProxyBig}, "haproxy", true},
		{[]target.Name{target.NGINXMaxConns}, "nginx", true},
	} {
		if got := needs(c.only, c.program); got != c.want {
			t.Errorf("%v need %s: %v, want %v", c.only, c.program, got, c.want)
		}
	}
}
