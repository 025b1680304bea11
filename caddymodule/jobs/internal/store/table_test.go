package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// opener counts what it opens and closes.
type opener struct {
	opened, closed int
	err            error
	closing        func() // is called by each close, if it is set
}

func (o *opener) how() How[int] {
	return How[int]{
		Open: func() (int, error) {
			o.opened++
			return o.opened, o.err
		},
		Close: func(int) {
			if o.closing != nil {
				o.closing()
			}
			o.closed++
		},
	}
}

func take(t *testing.T, table *Table[int], o *opener) *Lease[int] {
	t.Helper()
	l, err := table.Take(t.Context(), "folder", o.how())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestReloadsShareAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table[int]
		o := new(opener)
		old := take(t, &table, o)
		for range 10 {
			next := take(t, &table, o)
			old.End()
			old.End()
			old = next
		}
		synctest.Wait()
		if o.opened != 1 || o.closed != 0 || len(table.All()) != 1 {
			t.Errorf("opened %d times, closed %d times, %d open", o.opened, o.closed, len(table.All()))
		}
		old.End()
		table.Wait(t.Context())
		if o.closed != 1 || len(table.All()) != 0 {
			t.Errorf("closed %d times, %d open", o.closed, len(table.All()))
		}
		(*Lease[int])(nil).End()
	})
}

// A store that is being closed is opened again after its close.
func TestTakeWaitsForTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table[int]
		o := &opener{closing: func() { <-time.After(5 * time.Second) }}
		take(t, &table, o).End()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := table.Take(ctx, "folder", o.how()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		began := time.Now()
		next := take(t, &table, o)
		if next.Value() != 2 || o.closed != 1 || time.Since(began) != 4*time.Second {
			t.Errorf("got number %d after %s, %d closed", next.Value(), time.Since(began), o.closed)
		}
		next.End()
		table.Wait(t.Context())
	})
}

func TestFailedOpenIsTriedAgain(t *testing.T) {
	t.Parallel()
	var table Table[int]
	o := &opener{err: errors.New("damaged")}
	if _, err := table.Take(t.Context(), "folder", o.how()); !errors.Is(err, o.err) {
		t.Errorf("got %v", err)
	}
	o.err = nil
	l := take(t, &table, o)
	if l.Value() != 2 {
		t.Errorf("got %d", l.Value())
	}
	l.End()
	table.Wait(t.Context())
	if o.closed != 1 {
		t.Errorf("closed %d times", o.closed)
	}
}
