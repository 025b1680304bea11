package cli

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
)

// half has the usage and the limits of all request bodies, or of all responses.
type half struct {
	Memory      uint64 `json:"memory_bytes"`
	MemoryLimit uint64 `json:"memory_limit_bytes"`
	Disk        uint64 `json:"disk_bytes"`
	DiskLimit   uint64 `json:"disk_limit_bytes"`
}

func showSpool(s *call) error {
	var answer struct {
		Limits struct {
			Dir      string
			DirError string `json:"dir_error"`
			Memory   uint64 `json:"memory_bytes"`
			Disk     uint64 `json:"disk_bytes"`
			Uploads  int
		}
		Usage               struct{ Uploads int }
		Requests, Responses half
	}
	text, err := s.Server.Get("spool", &answer)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	most, in, out := answer.Limits, answer.Requests, answer.Responses
	t := admincommand.NewTable("", ">REQUESTS", ">RESPONSES", ">LIMIT")
	t.Add("memory", used(in.Memory, in.MemoryLimit), used(out.Memory, out.MemoryLimit), size(most.Memory))
	t.Add("disk", used(in.Disk, in.DiskLimit), used(out.Disk, out.DiskLimit), size(most.Disk))
	t.Add("uploads", fmt.Sprint(answer.Usage.Uploads), "", fmt.Sprint(most.Uploads))
	t.Print(s.Out)
	fmt.Fprintln(s.Out, "files in "+most.Dir)
	if most.DirError != "" {
		fmt.Fprintln(s.Out, "this folder cannot be used, so bodies stay in memory: "+most.DirError)
	}
	return nil
}

func used(n, limit uint64) string { return size(n) + "/" + size(limit) }

func size(n uint64) string { return strings.ReplaceAll(humanize.IBytes(n), " ", "") }
