package memory_test

import (
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/enginetest"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestConformance(t *testing.T) {
	var last sync.Map // the last engine of a folder
	enginetest.Run(t, func(_ *testing.T, folder string) jobs.Engine {
		e := memory.Open(memory.Options{})
		if before, ok := last.Load(folder); ok {
			e = before.(*memory.Engine).Reopen(memory.Options{})
		}
		last.Store(folder, e)
		return e
	})
}
