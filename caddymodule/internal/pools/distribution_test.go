package pools

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// exact is the quantile of sorted values.
func exact(values []float64, q float64) float64 {
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

// near reports whether an estimate is within a bucket of the exact value.
func near(got, want, width float64) bool {
	return math.Abs(math.Log(got)-math.Log(want)) <= math.Log(width)
}

func TestQuantilesOfAHistogramAreNearTheExactOnes(t *testing.T) {
	t.Parallel()
	h := newHistogram(WaitOpts, "one")
	random := rand.New(rand.NewPCG(1, 2))
	var values []float64
	for range 10_000 {
		v := math.Exp(random.NormFloat64() - 2)
		values = append(values, v)
		h.Observe(v)
	}
	slices.Sort(values)
	d := DistributionOf(h)
	if d.Total() != 10_000 {
		t.Errorf("%d values", d.Total())
	}
	for _, q := range []float64{.5, .95, .99} {
		got, ok := d.Quantile(q)
		if want := exact(values, q); !ok || !near(got, want, 1.1) {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

func TestADistributionWithoutValuesHasNoQuantile(t *testing.T) {
	t.Parallel()
	if _, ok := DistributionOf(newHistogram(RunOpts, "one")).Quantile(.5); ok {
		t.Error("a quantile of nothing")
	}
}

func TestWaitsOfZeroCountAsZero(t *testing.T) {
	t.Parallel()
	h := newHistogram(WaitOpts, "one")
	for range 98 {
		h.Observe(0)
	}
	h.Observe(1)
	h.Observe(1)
	d := DistributionOf(h)
	if got, _ := d.Quantile(.95); got != 0 {
		t.Errorf("p95 is %v", got)
	}
	if got, _ := d.Quantile(.99); !near(got, 1, 1.1) {
		t.Errorf("p99 is %v", got)
	}
}

// A histogram with too many buckets halves its resolution. An interval that contains this
// moment still has the values of the interval alone.
func TestIntervalsSurviveAChangeOfResolution(t *testing.T) {
	t.Parallel()
	h := newHistogram(WaitOpts, "one")
	for v := .001; v < 1; v *= 1.05 {
		h.Observe(v)
	}
	before := DistributionOf(h)
	for v := .0001; v < 1e6; v *= 1.05 {
		h.Observe(v)
	}
	wide := DistributionOf(h)
	if wide.Schema >= before.Schema {
		t.Fatalf("the resolution is %d, and was %d", wide.Schema, before.Schema)
	}
	for range 100 {
		h.Observe(7)
	}
	now := DistributionOf(h)
	if got := now.Since(wide); got.Total() != 100 {
		t.Errorf("%d values", got.Total())
	} else if p, _ := got.Quantile(.5); !near(p, 7, 1.2) {
		t.Errorf("p50 is %v", p)
	}
	if got, want := now.Since(before).Total(), now.Total()-before.Total(); got != want {
		t.Errorf("%d values, want %d", got, want)
	}
}

func TestADistributionOfAnotherHistogramIsNoEarlierOne(t *testing.T) {
	t.Parallel()
	old, young := newHistogram(WaitOpts, "one"), newHistogram(WaitOpts, "one")
	for range 10 {
		old.Observe(1)
	}
	young.Observe(1)
	if got := DistributionOf(young).Since(DistributionOf(old)); got.Total() != 1 {
		t.Errorf("%d values", got.Total())
	}
}

func TestDistributionsTravelAsJSON(t *testing.T) {
	t.Parallel()
	h := newHistogram(RunOpts, "one")
	h.Observe(.2)
	h.Observe(3)
	want := DistributionOf(h)
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Distribution
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
