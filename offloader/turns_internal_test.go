package offloader

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func clientNumber(n int) *Client {
	var c Client
	binary.BigEndian.PutUint64(c.Address[:], uint64(n)+1)
	return &c
}

// The table agrees with a plain list of turns after any additions and removals.
func TestTurnsAgreeWithAList(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var table turns
		var list []turn
		now := moment(1)
		for range 200 {
			now += moment(rnd.IntN(int(10 * time.Second)))
			c := clientNumber(rnd.IntN(5))
			c.Connection = uint16(rnd.IntN(3))
			k := table.find(c, now)
			own, ownDue, due, early, n := false, false, false, moment(0), 0
			for _, e := range list {
				if e.client.Address != c.Address || e.whole+moment(turnKept) < now {
					continue
				}
				n++
				mine := e.client == *c
				if e.at <= now {
					due, ownDue = true, ownDue || mine
					continue
				}
				own = own || mine
				if early == 0 || e.at < early {
					early = e.at
				}
			}
			due = ownDue || (due && !own) // a client with one to come takes no other's
			switch {
			case (k.due != 0) != due || (k.early != 0) != (early != 0) || k.n != n:
				t.Fatalf("seed %d: found %+v, want due %v, early %v, %d in all", seed, k, due, early, n)
			case early != 0 && table.all[k.early].at != early:
				t.Fatalf("seed %d: the next is at %d, want %d", seed, table.all[k.early].at, early)
			case k.due != 0 && rnd.IntN(2) == 0:
				e := table.all[k.due]
				table.remove(k.due)
				list = without(list, e)
			default:
				r := Retry{Turn: time.Duration(rnd.IntN(int(maxRetry)))}
				r.Seconds = int(wholeSeconds(r.Turn)/time.Second) + rnd.IntN(10)
				table.add(c, r, now)
				list = append(list, turn{client: *c, since: now, at: now + moment(r.Turn), whole: now + moment(r.whole())})
			}
		}
		now += moment(3 * time.Minute)
		table.sweep(now)
		if table.len != 0 || len(table.of) != 0 || table.oldest != 0 || table.newest != 0 {
			t.Fatalf("seed %d: after three minutes: %+v", seed, table)
		}
	}
}

func without(list []turn, e turn) []turn {
	for i := range list {
		if list[i].client == e.client && list[i].at == e.at && list[i].since == e.since {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// However many clients are rejected, the turns that are kept for them are bounded, and
// those of before stay.
func TestTurnsAreBounded(t *testing.T) {
	t.Parallel()
	var table turns
	for n := range 3 * maxTurns {
		table.add(clientNumber(n), retryWith(time.Minute, time.Minute), 1)
	}
	if table.len != maxTurns || len(table.all) != maxTurns+1 {
		t.Errorf("%d turns in %d entries, want %d", table.len, len(table.all), maxTurns)
	}
	if k := table.find(clientNumber(0), 1); k.n != 1 {
		t.Error("the first one is lost")
	}
	late := moment(3 * time.Minute)
	for n := range maxTurns {
		table.add(clientNumber(-n-2), retryWith(1, time.Second), late)
	}
	if table.len != maxTurns || len(table.all) != maxTurns+1 || len(table.of) != maxTurns {
		t.Errorf("later %d turns of %d addresses in %d entries", table.len, len(table.of), len(table.all))
	}
}

// One address has a bounded number of turns, however many clients are behind it.
func TestTurnsOfOneAddress(t *testing.T) {
	t.Parallel()
	g := &gate{concurrency: 1, limit: 1}
	g.runs.add(time.Second, 1)
	ticket := new(Ticket)
	for n := range 1000 {
		g.advise(ticket, &Client{Address: [16]byte{1}, Connection: uint16(n)}, moment(n))
	}
	if g.turns.len != turnsOfOne {
		t.Errorf("%d turns", g.turns.len)
	}
}

// The calendar books no more for a quarter of a second, and for a second, than there is
// room for.
func TestCalendar(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var c calendar
	r := capacity{atOnce: 6, inSecond: 18}
	came := map[int64]int{}
	now := moment(0)
	for range 2000 {
		now += moment(rnd.IntN(int(140 * time.Millisecond)))
		wait := c.book(now, time.Duration(1+rnd.IntN(10))*time.Second, r)
		came[(int64(now)+int64(wait))/int64(quarter)]++
	}
	for at := range came {
		sum := 0
		for d := range perSecond {
			sum += came[at+d]
		}
		if came[at] > r.atOnce || sum > r.inSecond {
			t.Errorf("%d in the quarter %d, %d in its second", came[at], at, sum)
		}
	}
}

func BenchmarkAdvice(b *testing.B) {
	g := &gate{concurrency: 8, limit: 8, queueLimit: 100, maxWait: 10 * time.Second}
	g.runs.add(time.Second, 1)
	ticket := new(Ticket)
	for n := range maxTurns {
		g.advise(ticket, clientNumber(n), 1)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		g.advise(ticket, clientNumber(n%(2*maxTurns)), moment(n))
	}
}
