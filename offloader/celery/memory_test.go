package celery_test

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestMemoryPassesTheSuite(t *testing.T) {
	t.Parallel()
	celerytest.Run(t, func(*testing.T) celerytest.System { return celerytest.NewMemory() })
}
