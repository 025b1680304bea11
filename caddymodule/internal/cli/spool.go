package cli

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// half has the usage and the limits of one direction.
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
	text, err := s.server.get("spool", &answer)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	most, in, out := answer.Limits, answer.Requests, answer.Responses
	t := newTable("", ">REQUESTS", ">RESPONSES", ">LIMIT")
	t.add("memory", part(in.Memory, in.MemoryLimit), part(out.Memory, out.MemoryLimit), size(most.Memory))
	t.add("disk", part(in.Disk, in.DiskLimit), part(out.Disk, out.DiskLimit), size(most.Disk))
	t.add("uploads", fmt.Sprint(answer.Usage.Uploads), "", fmt.Sprint(most.Uploads))
	t.print(s.out)
	fmt.Fprintln(s.out, "files in "+most.Dir)
	if most.DirError != "" {
		fmt.Fprintln(s.out, "this folder cannot be used, so bodies stay in memory: "+most.DirError)
	}
	return nil
}

func part(used, limit uint64) string { return size(used) + "/" + size(limit) }

func size(n uint64) string { return strings.ReplaceAll(humanize.IBytes(n), " ", "") }
