package status_test

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/adapttest"
)

func TestAdapt(t *testing.T) { adapttest.Run(t) }
