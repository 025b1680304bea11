package stat

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for name, c := range map[string]struct {
		in   []float64
		want float64
	}{
		"odd":      {[]float64{9, 1, 5}, 5},
		"even":     {[]float64{4, 1, 3, 2}, 2.5},
		"one":      {[]float64{7}, 7},
		"repeated": {[]float64{2, 2, 2, 9}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Median(c.in); got != c.want {
				t.Fatalf("Median(%v) = %v, want %v", c.in, got, c.want)
			}
		})
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Fatalf("Median(nil) = %v, want NaN", got)
	}
}

func TestMedianLeavesItsInputAlone(t *testing.T) {
	in := []float64{3, 1, 2}
	Median(in)
	if in[0] != 3 || in[1] != 1 || in[2] != 2 {
		t.Fatalf("input was sorted in place: %v", in)
	}
}

func TestQuantileIsASeenValue(t *testing.T) {
	x := make([]float64, 100)
	for i := range x {
		x[i] = float64(100 - i) // 1..100, unsorted
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		if got := Quantile(x, q); got != want {
			t.Errorf("Quantile(1..100, %v) = %v, want %v", q, got, want)
		}
	}
	if got := Quantile([]float64{3}, 0.99); got != 3 {
		t.Errorf("Quantile of one value = %v, want it", got)
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("Quantile(nil) = %v, want NaN", got)
	}
}

func TestRatiosPairUp(t *testing.T) {
	got := Ratios([]float64{2, 9, 5}, []float64{1, 3})
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Fatalf("Ratios = %v, want [2 3]", got)
	}
}

func TestDifferencesPairUp(t *testing.T) {
	got := Differences([]float64{2, 9, 5}, []float64{1, 3})
	if len(got) != 2 || got[0] != 1 || got[1] != 6 {
		t.Fatalf("Differences = %v, want [1 6]", got)
	}
}

func TestMillis(t *testing.T) {
	got := Millis([]time.Duration{1500 * time.Microsecond, 0})
	if got[0] != 1.5 || got[1] != 0 {
		t.Fatalf("Millis = %v", got)
	}
}

// The ranks come from a table of the binomial distribution: with 12 samples
// P(at most 2 below) = 0.019, P(at most 3 below) = 0.073 and P(at most 4 below) =
// 0.194; with 24 P(at most 7 below) = 0.032 and P(at most 8 below) = 0.076.
func TestMedianIntervalRanks(t *testing.T) {
	for _, c := range []struct {
		n          int
		confidence float64
		rank       int
	}{
		{12, 0.80, 3},
		{12, 0.90, 2},
		{14, 0.80, 4},
		{20, 0.80, 6},
		{24, 0.90, 7},
		{5, 0.80, 0},
		{5, 0.90, 0},
		{4, 0.90, 0},
		{1, 0.90, 0},
		{2, 0.90, 0},
	} {
		x := make([]float64, c.n)
		for i := range x {
			x[i] = float64(i)
		}
		got := MedianInterval(x, c.confidence)
		if got.Low != float64(c.rank) || got.High != float64(c.n-1-c.rank) {
			t.Errorf("n=%d at %v: [%v, %v], want ranks %d and %d",
				c.n, c.confidence, got.Low, got.High, c.rank, c.n-1-c.rank)
		}
		if got.Sure != (c.n >= 5) {
			t.Errorf("n=%d at %v: sure %v", c.n, c.confidence, got.Sure)
		}
		if want := float64(c.n - 1 - 2*c.rank); got.Width() != want {
			t.Errorf("n=%d at %v: width %v, want %v", c.n, c.confidence, got.Width(), want)
		}
	}
}

func TestMedianIntervalHoldsWhatItPromises(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const rounds = 5000
	above, outside := 0, 0
	for range rounds {
		x := make([]float64, 12)
		for i := range x {
			x[i] = random.ExpFloat64()
		}
		got := MedianInterval(x, 0.8)
		if got.Low > math.Ln2 { // the true median
			above++
		}
		if got.Low > math.Ln2 || got.High < math.Ln2 {
			outside++
		}
	}
	if share := float64(above) / rounds; share > 0.1 {
		t.Fatalf("the lower end lay above the true median in %.3f of all cases, want at most 0.1", share)
	}
	if share := float64(outside) / rounds; share > 0.2 {
		t.Fatalf("the true median was outside in %.3f of all cases, want at most 0.2", share)
	}
}

func TestMedianIntervalOfNothing(t *testing.T) {
	if got := MedianInterval(nil, 0.9); !math.IsNaN(got.Mid) || !math.IsNaN(got.Low) || !math.IsNaN(got.High) {
		t.Fatalf("MedianInterval(nil) = %+v, want NaN", got)
	}
}
