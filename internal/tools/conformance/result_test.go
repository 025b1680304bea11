package conformance

import (
	"errors"
	"slices"
	"testing"
)

// A case that fails without offload too is not lost; a case that no longer runs
// is.
func TestLostCases(t *testing.T) {
	t.Parallel()
	plain := Result{"good": "", "bad": "closed", "worse": "", "gone": "", "better": "closed"}
	offloaded := Result{"good": "", "bad": "closed", "worse": "timeout", "better": ""}
	if got := plain.Passed(); got != 3 {
		t.Errorf("%d passed, want 3", got)
	}
	if got := offloaded.Reason("gone"); got != "not played" {
		t.Errorf("the reason is %q", got)
	}
	if lost, want := plain.LostIn(offloaded), []string{"gone", "worse"}; !slices.Equal(lost, want) {
		t.Errorf("lost %q, want %q", lost, want)
	}
	if lost, want := Compare("site", plain, offloaded), []string{"site: gone", "site: worse"}; !slices.Equal(lost, want) {
		t.Errorf("lost %q, want %q", lost, want)
	}
}

func TestCasesMustBeLostTwice(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		lost  [][]string
		err   error
		fails bool
	}{
		"none":           {lost: [][]string{nil}},
		"one by chance":  {lost: [][]string{{"a"}, {"b"}}},
		"one each time":  {lost: [][]string{{"a", "b"}, {"b"}}, fails: true},
		"it cannot play": {lost: [][]string{nil}, err: broken, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			played := 0
			err := Twice(func() ([]string, error) {
				played++
				return tt.lost[played-1], tt.err
			})
			if (err != nil) != tt.fails || played != len(tt.lost) {
				t.Errorf("error %v after %d comparisons", err, played)
			}
		})
	}
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := Start(t.TempDir()+"/missing", ""); err == nil {
		t.Error("no error without a binary")
	}
}
