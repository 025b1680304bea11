package admin

import (
	"net/http"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// spoolView is what spools may keep, and what they do.
type spoolView struct {
	Limits    spoolLimits `json:"limits"`
	Usage     spoolUsage  `json:"usage"`
	Requests  spoolHalf   `json:"requests"`
	Responses spoolHalf   `json:"responses"`
}

type spoolLimits struct {
	Dir string `json:"dir"`
	// DirError says why the folder cannot be used now.
	DirError string `json:"dir_error,omitempty"`

	Memory  int64 `json:"memory_bytes"`
	Disk    int64 `json:"disk_bytes"`
	Uploads int   `json:"uploads"`
	MinRate int64 `json:"min_rate_bytes"`
}

type spoolUsage struct {
	Memory       int64 `json:"memory_bytes"`
	Disk         int64 `json:"disk_bytes"`
	StreamMemory int64 `json:"stream_memory_bytes"`
	StreamDisk   int64 `json:"stream_disk_bytes"`
	Uploads      int   `json:"uploads"`
}

// spoolHalf is what one direction has taken of its half.
type spoolHalf struct {
	Memory      int64 `json:"memory_bytes"`
	MemoryLimit int64 `json:"memory_limit_bytes"`
	Disk        int64 `json:"disk_bytes"`
	DiskLimit   int64 `json:"disk_limit_bytes"`
}

func showSpool(c *adminCall) error {
	l, u := pools.Budget.Limits(), pools.Budget.Usage()
	memory, disk := l.Half()
	limits := spoolLimits{Dir: l.Dir, Memory: l.Memory, Disk: l.Disk, Uploads: l.Uploads, MinRate: l.MinRate}
	if err := spool.TryFolder(l.Dir); err != nil {
		limits.DirError = err.Error()
	}
	return c.answer(http.StatusOK, spoolView{
		Limits:    limits,
		Usage:     spoolUsage(u),
		Requests:  spoolHalf{u.Memory - u.StreamMemory, memory, u.Disk - u.StreamDisk, disk},
		Responses: spoolHalf{u.StreamMemory, memory, u.StreamDisk, disk},
	})
}
