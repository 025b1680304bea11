package pools

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Distribution has the counts of a histogram's native buckets. Each bucket is a tenth wider
// than the one before, unless there were too many. So a quantile is usually off by a
// twentieth at most.
type Distribution struct {
	// Schema is the resolution: bucket i ends at 2^(i/2^Schema) seconds.
	Schema int32 `json:"schema"`
	// Zero counts the values that are practically zero.
	Zero uint64 `json:"zero"`
	// Index and Count have the buckets that are not empty, in ascending order.
	Index []int32  `json:"index"`
	Count []uint64 `json:"count"`
}

// DistributionOf returns the counts of a histogram with native buckets.
func DistributionOf(h prometheus.Histogram) Distribution {
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		return Distribution{} // cannot happen: it writes to memory
	}
	hist := m.GetHistogram()
	d := Distribution{Schema: hist.GetSchema(), Zero: hist.GetZeroCount()}
	deltas := hist.GetPositiveDelta()
	at, count := int32(0), int64(0)
	for _, span := range hist.GetPositiveSpan() {
		at += span.GetOffset()
		for range span.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			if count > 0 {
				d.Index, d.Count = append(d.Index, at), append(d.Count, uint64(count))
			}
			at++
		}
	}
	return d
}

// Total is the number of values.
func (d Distribution) Total() uint64 {
	n := d.Zero
	for _, count := range d.Count {
		n += count
	}
	return n
}

// Since returns the counts since an earlier state of the same histogram. If earlier is of
// another histogram, it returns all counts.
func (d Distribution) Since(earlier Distribution) Distribution {
	for earlier.Schema > d.Schema {
		earlier = earlier.coarser()
	}
	if earlier.Schema < d.Schema || earlier.Zero > d.Zero {
		return d
	}
	since := Distribution{Schema: d.Schema, Zero: d.Zero - earlier.Zero}
	for i, at := range d.Index {
		count := d.Count[i]
		if was, ok := slices.BinarySearch(earlier.Index, at); ok {
			if earlier.Count[was] > count {
				return d
			}
			count -= earlier.Count[was]
		}
		if count > 0 {
			since.Index, since.Count = append(since.Index, at), append(since.Count, count)
		}
	}
	return since
}

// coarser merges pairs of buckets, as the histogram does when there are too many.
func (d Distribution) coarser() Distribution {
	c := Distribution{Schema: d.Schema - 1, Zero: d.Zero}
	for i, at := range d.Index {
		at = (at + 1) >> 1
		if n := len(c.Index); n > 0 && c.Index[n-1] == at {
			c.Count[n-1] += d.Count[i]
			continue
		}
		c.Index, c.Count = append(c.Index, at), append(c.Count, d.Count[i])
	}
	return c
}

// Quantile returns an estimate in seconds, and false if there are no values.
func (d Distribution) Quantile(q float64) (seconds float64, ok bool) {
	total := d.Total()
	if total == 0 {
		return 0, false
	}
	rank := q * float64(total)
	if rank <= float64(d.Zero) {
		return 0, true
	}
	below := float64(d.Zero)
	for i, at := range d.Index {
		count := float64(d.Count[i])
		if below+count >= rank || i == len(d.Index)-1 {
			part := min(1, (rank-below)/count)
			return math.Exp2((float64(at) - 1 + part) * math.Exp2(-float64(d.Schema))), true
		}
		below += count
	}
	return 0, true
}
