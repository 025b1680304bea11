package kit

import (
	"testing"
	"testing/iotest"
)

func TestSequence(t *testing.T) {
	t.Parallel()
	const size = 1001
	want := make([]byte, size)
	Sequence(7).Fill(want, 0)
	if err := iotest.TestReader(Sequence(7).Reader(size), want); err != nil {
		t.Error(err)
	}
	for at := range int64(20) {
		j := &Judge{Sequence: 7, At: at}
		for rest := want[at:]; len(rest) > 0; {
			n := min(len(rest), int(at)+1)
			if _, err := j.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	for name, wrong := range map[string][]byte{
		"lost":    append(append([]byte(nil), want[:500]...), want[501:]...),
		"changed": append(append([]byte(nil), want[:999]...), want[999]+1),
		"swapped": append(append([]byte(nil), want[8:16]...), want[:8]...),
	} {
		if _, err := (&Judge{Sequence: 7}).Write(wrong); err == nil {
			t.Errorf("bytes that were %s do not show", name)
		}
	}
}
