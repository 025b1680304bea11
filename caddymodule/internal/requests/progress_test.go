package requests

import "testing"

// A phase travels as text between the admin endpoint and a live view.
func TestPhasesTravelAsText(t *testing.T) {
	t.Parallel()
	for phase := PhaseUploading; phase < phaseCount; phase++ {
		text, err := phase.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Phase
		if err := got.UnmarshalText(text); err != nil || got != phase {
			t.Errorf("%s is read as %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "sleeping"} {
		var got Phase
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}
