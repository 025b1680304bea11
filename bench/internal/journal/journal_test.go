package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// at builds entries from pairs of milliseconds and kinds.
func at(pairs ...any) []Entry {
	var entries []Entry
	for pair := range slices.Chunk(pairs, 2) {
		entries = append(entries, Entry{At: moment(pair[0].(int)), Kind: pair[1].(Kind)})
	}
	return entries
}

func moment(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func TestEntriesComeBackInTheirOrder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	j, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	j.Note(Arrived, 7)
	j.Note(Left, 0)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	again.Note(Killed, 0)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := Load(name)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	if e := entries[0]; e.Kind != Arrived || e.Number != 7 || e.At.Before(before.Truncate(0)) || e.At.After(time.Now()) {
		t.Errorf("first entry %+v", e)
	}
	if entries[1].Kind != Left || entries[2].Kind != Killed {
		t.Errorf("entries %+v", entries)
	}
}

func TestNoJournalWritesNothing(t *testing.T) {
	var j *Journal
	j.Note(Arrived, 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLastLineMayBeCutShort(t *testing.T) {
	for text, want := range map[string]int{
		"":                             0,
		"5 arr":                        0,
		"5 arrived 1\n6 left":          1,
		"5 arrived 1\n6 left 1\n7 lef": 2,
		"5 arrived\n6 left 1\n":        -1,
		"x arrived 1\n":                -1,
		"5 arrived x\n":                -1,
	} {
		name := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := Load(name)
		if want < 0 && err == nil {
			t.Errorf("%q: no error", text)
		}
		if want >= 0 && (err != nil || len(entries) != want) {
			t.Errorf("%q: %v, %v", text, entries, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file: no error")
	}
}

func TestRunsOfAKilledProcessAreNotInside(t *testing.T) {
	entries := at(0, Serves, 1, Arrived, 2, Arrived, 3, Left, 4, Arrived, 5, Killed, 6, Serves, 7, Arrived)
	if got := MostInside(entries); got != 2 {
		t.Errorf("most inside %d, want 2", got)
	}
	if got := MostInside(append(entries, at(8, Arrived, 9, Arrived)...)); got != 3 {
		t.Errorf("most inside %d, want 3", got)
	}
}

func TestPermitsAreIdleBetweenRuns(t *testing.T) {
	for about, c := range map[string]struct {
		entries []Entry
		want    []time.Duration
	}{
		"one after the other": {
			at(0, Serves, 1, Arrived, 10, Left, 12, Arrived, 20, Left, 21, Arrived),
			[]time.Duration{2 * time.Millisecond, time.Millisecond},
		},
		"first idle, first taken": {
			at(0, Serves, 1, Arrived, 1, Arrived, 10, Left, 11, Left, 13, Arrived, 20, Arrived),
			[]time.Duration{3 * time.Millisecond, 9 * time.Millisecond},
		},
		"killed":         {at(1, Arrived, 10, Left, 11, Killed, 20, Serves, 30, Arrived), nil},
		"ill":            {at(1, Arrived, 1, Arrived, 10, Left, 11, Ill, 12, Left, 20, Well, 30, Arrived, 31, Arrived), nil},
		"well again":     {at(1, Ill, 2, Well, 3, Arrived, 4, Left, 5, Arrived), []time.Duration{time.Millisecond}},
		"well as before": {at(1, Well, 3, Arrived, 4, Left, 5, Well, 6, Arrived), []time.Duration{2 * time.Millisecond}},
		"more runs than permits": {
			at(1, Arrived, 1, Arrived, 1, Arrived, 2, Left, 3, Arrived, 4, Left, 5, Left, 6, Arrived, 9, Arrived),
			[]time.Duration{time.Millisecond},
		},
		"the last run": {at(1, Arrived, 2, Left), nil},
	} {
		if got := Idle(c.entries, 2); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", about, got, c.want)
		}
	}
}

func TestInServiceFromAGoodHealthCheckOn(t *testing.T) {
	entries := at(0, Serves, 10, Well, 20, Well, 30, Ill, 40, Well, 50, Killed, 60, Serves, 70, Well)
	for ms, want := range map[int]bool{
		5: false, 12: false, 15: true, 22: true, 29: true, 31: false, 42: false, 45: true, 55: false, 65: false, 72: false, 80: true,
	} {
		if got := InService(entries, moment(ms), 5*time.Millisecond); got != want {
			t.Errorf("at %d ms: %v, want %v", ms, got, want)
		}
	}
}

func TestTimesAndLast(t *testing.T) {
	entries := []Entry{
		{moment(1), Read, 1}, {moment(2), Read, 2}, {moment(3), Read, 1}, {moment(4), Read, 0}, {moment(5), Left, 3},
	}
	got := Times(entries, Read)
	if len(got) != 2 || got[1] != 2 || got[2] != 1 {
		t.Errorf("times %v", got)
	}
	if last, found := Last(entries, Read); !found || !last.Equal(moment(4)) {
		t.Errorf("last %v, %v", last, found)
	}
	if _, found := Last(entries, Killed); found {
		t.Error("an entry that is not there was found")
	}
}
