package admin

import (
	"net/http"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// spoolView has the limits of the spools and their usage.
type spoolView struct {
	Limits    spoolLimits `json:"limits"`
	Usage     spoolUsage  `json:"usage"`
	Requests  spoolHalf   `json:"requests"`
	Responses spoolHalf   `json:"responses"`
}

type spoolLimits struct {
	Dir string `json:"dir"`
	// DirError is the error because of which the folder cannot be used now.
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

// spoolHalf has the usage of one direction, requests or responses, which has one half of
// the limits.
type spoolHalf struct {
	Memory      int64 `json:"memory_bytes"`
	MemoryLimit int64 `json:"memory_limit_bytes"`
	Disk        int64 `json:"disk_bytes"`
	DiskLimit   int64 `json:"disk_limit_bytes"`
}

func showSpool(c *adminCall) error { return c.Answer(http.StatusOK, spoolOf(c.process, true)) }

// spoolOf returns the state of the spools. If tryFolder is set, it writes a file to the
// folder as a test.
func spoolOf(p *state.Process, tryFolder bool) spoolView {
	l, u := p.Budget.Limits(), p.Budget.Usage()
	memory, disk := l.Half()
	limits := spoolLimits{Dir: l.Dir, Memory: l.Memory, Disk: l.Disk, Uploads: l.Uploads, MinRate: l.MinRate}
	if tryFolder {
		if err := spool.TryFolder(l.Dir); err != nil {
			limits.DirError = err.Error()
		}
	}
	return spoolView{
		Limits:    limits,
		Usage:     spoolUsage(u),
		Requests:  spoolHalf{u.Memory - u.StreamMemory, memory, u.Disk - u.StreamDisk, disk},
		Responses: spoolHalf{u.StreamMemory, memory, u.StreamDisk, disk},
	}
}
