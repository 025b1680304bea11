package conformance

import (
	"strings"
	"testing"
)

func TestProgramsThatLeaveNoReportAreErrors(t *testing.T) {
	t.Parallel()
	s := Suite{
		Fronts:    []Front{{Name: "a front"}},
		Arguments: func(_ Front, dir string) ([]string, string) { return nil, dir + "/report" },
	}
	_, err := s.playAll(t.Context(), t.TempDir()+"/missing")
	if err == nil || !strings.Contains(err.Error(), "a front: no report") {
		t.Errorf("error %v", err)
	}
}
