package worker

import (
	"math/big"
	"strings"
	"testing"
)

// text formats x and checks the sizes of the pieces.
func text(t *testing.T, x *big.Int) string {
	t.Helper()
	var b strings.Builder
	whole := streamDecimal(x, func(piece []byte) bool {
		if len(piece) == 0 || len(piece) > pieceBytes+leafDigits {
			t.Errorf("piece of %d bytes", len(piece))
		}
		b.Write(piece)
		return true
	})
	if !whole {
		t.Error("formatting stopped although nobody asked for it")
	}
	return b.String()
}

func TestDecimalEqualsMathBig(t *testing.T) {
	t.Parallel()
	ten := big.NewInt(10)
	for _, exponent := range []int64{0, 1, 2, leafDigits - 1, leafDigits, leafDigits + 1, 4 * leafDigits, 50_000} {
		power := new(big.Int).Exp(ten, big.NewInt(exponent), nil)
		for _, delta := range []int64{-1, 0, 1} {
			x := new(big.Int).Add(power, big.NewInt(delta))
			if got, want := text(t, x), x.String(); got != want {
				t.Errorf("10^%d%+d: %d digits, want %d", exponent, delta, len(got), len(want))
			}
		}
	}
}

func TestDecimalOfFactorials(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 2, 20, 21, 449, 450, 1_000, 7_777, 30_000} {
		x := new(big.Int).MulRange(1, n)
		if text(t, x) != x.String() {
			t.Errorf("%d! differs from big.Int.String", n)
		}
	}
}

func TestDecimalStopsWhenToldTo(t *testing.T) {
	t.Parallel()
	x := new(big.Int).MulRange(1, 20_000)
	pieces := 0
	whole := streamDecimal(x, func([]byte) bool {
		pieces++
		return pieces < 3
	})
	if whole || pieces != 3 {
		t.Errorf("whole %t after %d pieces, want false after 3", whole, pieces)
	}
}

func FuzzDecimal(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{1}, uint16(40_000))
	f.Add([]byte("any bits at all"), uint16(3_500))
	f.Fuzz(func(t *testing.T, bits []byte, shift uint16) {
		x := new(big.Int).SetBytes(bits)
		x.Lsh(x, uint(shift))
		if text(t, x) != x.String() {
			t.Errorf("%x << %d differs from big.Int.String", bits, shift)
		}
	})
}

func BenchmarkFactorial(b *testing.B) {
	for b.Loop() {
		streamDecimal(new(big.Int).MulRange(1, MaxN), func([]byte) bool { return true })
	}
}
