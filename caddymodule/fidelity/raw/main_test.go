package raw

import (
	"testing"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func TestMain(m *testing.M) { site.Main(m) }
