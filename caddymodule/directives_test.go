package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// The listed directives exist, and none is an option of a block here.
func TestDirectivesExist(t *testing.T) {
	t.Parallel()
	for _, directive := range directives {
		if directive == "celery" || directive == "import" { // another plugin; read by the parser
			continue
		}
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":8080 {\n\t"+directive+"\n}\n"), nil)
		if err != nil && strings.Contains(err.Error(), "unrecognized directive") {
			t.Errorf("%s: %v", directive, err)
		}
		if isOption(directive) {
			t.Errorf("%s is an option too", directive)
		}
	}
}
