package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

// The version is where each way of building leaves it.
func TestVersionOfEachBuild(t *testing.T) {
	t.Parallel()
	const stamp = "v0.0.0-20260102030405-0123456789ab"
	other := debug.Module{Path: "example.com/mine", Version: "v1.0.0"}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"go build, stamped":           {debug.BuildInfo{Main: debug.Module{Path: module, Version: stamp}}, stamp},
		"go build, with a commit":     {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}, "abc"},
		"go build, without":           {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, unknown},
		"xcaddy, a release":           {debug.BuildInfo{Main: other, Deps: []*debug.Module{&other, {Path: module, Version: "v1.2.3"}}}, "v1.2.3"},
		"xcaddy, a fork":              {debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: "v1.2.3", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.2.4"}}}}, "v1.2.4"},
		"cmd/build, a stamped folder": {debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: stamp, Replace: &debug.Module{Path: "/src", Version: "(devel)"}}}}, stamp},
		"xcaddy, a folder":            {debug.BuildInfo{Main: other, Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "/src", Version: "(devel)"}}}}, unknown},
		"without this project":        {debug.BuildInfo{Main: other}, unknown},
	} {
		if got := of(&test.info); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestVersionNamesCaddy(t *testing.T) {
	t.Parallel()
	if got := Text(); !strings.HasPrefix(got, "caddy-offload ") || !strings.Contains(got, "(Caddy ") {
		t.Errorf("got %s", got)
	}
}
