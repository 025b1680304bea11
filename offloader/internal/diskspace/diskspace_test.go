package diskspace_test

import (
	"errors"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/internal/diskspace"
)

func TestRoomOfAFolder(t *testing.T) {
	s, err := diskspace.Of(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || s.Free < 1 || s.Total < s.Free {
		t.Errorf("got %+v, %v", s, err)
	}
}
