package pools

import (
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// budget bounds the spools of the process.
var (
	Budget       = spool.NewBudget(spool.DefaultLimits())
	BudgetLeases = Leases[spool.Limits]{Apply: Budget.Configure}
)

// FolderHint says what to do about a spool folder that cannot be used.
const FolderHint = "make room on the disk of this folder, see that it can be written to, or set another 'dir' in the global option 'offload' for 'spool'"

// WarnOfFolder says at load what would show with the first large body else.
func WarnOfFolder(dir string) {
	if err := spool.TryFolder(dir); err != nil {
		caddy.Log().Named("offload").Warn("the spool folder cannot be used: bodies stay in memory while there is room, and are refused or wait when there is none",
			zap.String("dir", dir), zap.Error(err), zap.String("hint", FolderHint))
	}
}
