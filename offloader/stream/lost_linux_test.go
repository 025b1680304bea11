package stream_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// A file that lost bytes fails its readers: they get none that are wrong, and no
// end that looks well.
func TestFileThatLostBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := stream.New(stream.Options{
		Budget: spool.NewBudget(spool.Limits{Dir: dir, Disk: 1 << 20}),
		Bounds: spool.Bounds{File: 1 << 20},
	})
	defer s.Close()
	r := s.NewReader()
	if _, err := s.Write(bytesOf(2 * block)); err != nil {
		t.Fatal(err)
	}
	s.End(nil)
	truncateFileIn(t, dir, block+10)
	if piece, err := r.Next(nil); err != nil || len(piece.Data) != block {
		t.Fatalf("%d bytes, %v", len(piece.Data), err)
	}
	for range 2 {
		piece, err := r.Next(nil)
		if len(piece.Data) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, %v", len(piece.Data), err)
		}
	}
}

// truncateFileIn cuts the open file of that folder, which has no name.
func truncateFileIn(t *testing.T, dir string, size int64) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, dir+"/") {
			if err := os.Truncate(fd, size); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no file is open")
}
