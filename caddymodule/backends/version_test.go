//go:build integration

package backends

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// versionCommands print the versions of programs that are not Python packages.
var versionCommands = map[string][]string{
	"node":     {"node", "--version"},
	"express":  {"node", "-p", "require('express/package.json').version"},
	"php-fpm":  {services.PHPFPMCommand(), "--version"},
	"puma":     {"puma", "--version"},
	"ruby":     {"ruby", "--version"},
	"uwsgi":    {"uwsgi", "--version"},
	"starman":  {"starman", "--version"},
	"apache":   {"/usr/sbin/apache2", "-v"},
	"mod_wsgi": {"dpkg-query", "--show", "--showformat=${Version}", "libapache2-mod-wsgi-py3"},
	"java":     {"java", "-version"},
}

// jarOf is the file whose name has the version.
var jarOf = map[string]string{"tomcat": "tomcat-embed-core-*.jar", "jetty": "jetty-server-*.jar"}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// readVersions returns the names with their versions.
func readVersions(t *testing.T, names, commands string) string {
	t.Helper()
	var all []string
	for name := range strings.FieldsSeq(names) {
		text, err := readVersion(t.Context(), name, commands)
		version := versionNumber.FindString(text)
		if version == "" {
			t.Errorf("version of %s: %v: %q", name, err, text)
		}
		all = append(all, name+" "+version)
	}
	return strings.Join(all, ", ")
}

func readVersion(ctx context.Context, name, commands string) (string, error) {
	if name == "go" {
		return runtime.Version(), nil
	}
	if pattern := jarOf[name]; pattern != "" {
		found, err := filepath.Glob(filepath.Join(cacheFolder("java"), pattern))
		return strings.Join(found, " "), err
	}
	args := versionCommands[name]
	if args == nil {
		code := fmt.Sprintf("import importlib.metadata as m; print(m.version(%q))", name)
		args = []string{filepath.Join(commands, "python"), "-c", code}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(cmd.Environ(), installed()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
