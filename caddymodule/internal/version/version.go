// Package version returns the version of this project from which a binary was built.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

// module is this project's module.
const module = "github.com/caddy-offload/caddy-offload"

// unknown is the version of a build that has no stamp.
const unknown = "unknown"

// Text returns the versions of this project, of Caddy and of Go.
func Text() string {
	simple, _ := caddy.Version()
	return "caddy-offload " + Project() + " (Caddy " + simple + ", " + runtime.Version() + ")"
}

// Project returns the version of this project: a tag, or the time and the commit of its
// sources, as in v0.0.0-20260102030405-0123456789ab.
func Project() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return of(info)
}

// of returns the version in the data of a build.
func of(info *debug.BuildInfo) string {
	if info.Main.Path == module { // by "go build" in this project
		return cmp.Or(known(info.Main.Version), commit(info), unknown)
	}
	for _, d := range info.Deps {
		if d.Path != module {
			continue
		}
		fork := ""
		if d.Replace != nil { // that of a folder says nothing
			fork = known(d.Replace.Version)
		}
		return cmp.Or(fork, known(d.Version), unknown)
	}
	return unknown
}

// known returns a version, or an empty string for one without meaning: that of a main
// module without a stamp, and those of local folders.
func known(version string) string {
	if slices.Contains([]string{"(devel)", "v0.0.0", "v0.0.0-00010101000000-000000000000"}, version) {
		return ""
	}
	return version
}

// commit returns the commit of the sources.
func commit(info *debug.BuildInfo) string {
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
