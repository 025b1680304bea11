package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// budgetBytes are metrics of the process, with a series for memory and one for
// disk.
var budgetBytes = []struct {
	desc *prometheus.Desc
	of   func(l spool.Limits, u spool.Usage) (memory, disk int64)
}{
	{
		describe("spool_bytes", "Bytes of request bodies that are kept.", "kind"),
		func(_ spool.Limits, u spool.Usage) (int64, int64) {
			return u.Memory - u.StreamMemory, u.Disk - u.StreamDisk
		},
	},
	{
		describe("stream_bytes", "Bytes of responses that their clients have not taken yet.", "kind"),
		func(_ spool.Limits, u spool.Usage) (int64, int64) { return u.StreamMemory, u.StreamDisk },
	},
	{
		describe("spool_limit_bytes", "Bytes of request bodies that may be kept.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Half() },
	},
	{
		describe("stream_limit_bytes", "Bytes of responses that may be kept.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Half() },
	},
	{
		describe("budget_bytes", "Bytes of request bodies and responses that may be kept together.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Memory, l.Disk },
	},
	{
		describe("budget_left_bytes", "Bytes of the budget that are free.", "kind"),
		func(l spool.Limits, u spool.Usage) (int64, int64) {
			return max(l.Memory-u.Memory, 0), max(l.Disk-u.Disk, 0)
		},
	},
}

// budgetUploads are metrics of the process with one series.
var budgetUploads = []struct {
	desc *prometheus.Desc
	of   func(l spool.Limits, u spool.Usage) int
}{
	{
		describe("uploads", "Request bodies that are being read."),
		func(_ spool.Limits, u spool.Usage) int { return u.Uploads },
	},
	{
		describe("uploads_limit", "Request bodies that may be read at once."),
		func(l spool.Limits, _ spool.Usage) int { return l.Uploads },
	},
}

// The metrics of uploads whose rest is discarded after the answer. They are metrics of the
// process.
var (
	discarding    = describe("discarding", "Uploads whose rest is being discarded after the answer.")
	discardsTotal = describe("discards_total", "Uploads whose rest was discarded after the answer, by what ended that.", "end")
)
