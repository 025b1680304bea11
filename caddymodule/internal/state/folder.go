package state

import (
	"go.uber.org/zap"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// FolderHint is the hint in the log about a spool folder that cannot be used.
const FolderHint = "make room on the disk of this folder, see that it can be written to, or set another 'dir' for 'spool' in the global option 'offload'"

// WarnOfFolder warns when a configuration is loaded if the spool folder cannot be used.
// Otherwise the first large body would show it.
func WarnOfFolder(dir string) {
	if err := spool.TryFolder(dir); err != nil {
		pools.Logger().Warn("the spool folder cannot be used: bodies stay in memory; when it is full, requests are rejected and runs wait for their clients",
			zap.String("dir", dir), zap.Error(err), zap.String("hint", FolderHint))
	}
}
