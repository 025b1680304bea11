package caddymodule_test

import (
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// asCaddy in the environment makes the test binary a Caddy.
const asCaddy = "OFFLOAD_TEST_AS_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		site.RepeatTermination()
		caddycmd.Main()
		return
	}
	site.Main(m)
}
